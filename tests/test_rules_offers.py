"""The file of offers that a person may look through: what is read of it, and one line for whatever is no such file."""

from pathlib import Path

import pytest

from models.offers import PRODUCTS
from offline.errors import OfflineError
from offline.rules import offers as job

HEADER = ",".join(job.COLUMNS)


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "offers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_file_is_read_as_rules_write_it(tmp_path: Path) -> None:
    lines = ['"milk, fresh",tea,1.0,,,,', "tea,pot,0.6,cup,0.5,jam,0.2"]
    assert job.read(written(tmp_path, HEADER, *lines)).beside == {"milk, fresh": ["tea"], "tea": ["pot", "cup", "jam"]}
    plain_file = written(tmp_path, "offer_2,note,offer_1,product,offer_3", "cup,by hand,pot,tea,")
    assert job.read(plain_file).beside == {"tea": ["pot", "cup"]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "no column 'product' among its comma-separated columns; the file is empty"),
        (["products,offer_1,offer_2,offer_3"], "no column 'product' .* nearest is 'products' of"),
        (["product,offer1,offer_2,offer_3"], "no column 'offer_1' .* nearest is 'offer1' of"),
        ([HEADER, "tea,pot"], "line 2 has 2 values, the first line 7 names"),
        ([HEADER, ",pot,1,,,,"], "line 2: product is empty"),
        ([HEADER, "tea,pot,1,,,,", "", "tea,cup,1,,,,"], "line 4: product 'tea' came before"),
        ([HEADER, *(f"p{i},pot,1,,,," for i in range(PRODUCTS + 1))], "at most 10,000 products.*; mine with a higher"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(OfflineError, match=said) as error:
        job.read(written(tmp_path, *lines))
    assert str(error.value).startswith(f"--offers {tmp_path}/offers.csv: ")
