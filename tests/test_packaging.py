"""What an installed package holds is what stands here: the list of packages is written by hand, without discovery."""

import tomllib
from pathlib import Path

HERE = Path(__file__).parent.parent
SHIPPED = ("models", "offline", "streams")
FILES = [file for package in SHIPPED for file in (HERE / package).rglob("*") if file.is_file()]
SETUP = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_directory_of_modules_is_a_package_that_is_listed() -> None:
    directories = {file.parent for file in FILES if file.suffix == ".py"}
    assert all((directory / "__init__.py").exists() for directory in directories)
    assert SETUP["packages"] == sorted(".".join(each.relative_to(HERE).parts) for each in directories)


def test_every_other_file_in_them_is_listed_as_data() -> None:
    others = {file for file in FILES if file.suffix not in (".py", ".pyc", ".nbi", ".nbc")}
    listed = {
        file
        for package, patterns in SETUP["package-data"].items()
        for pattern in patterns
        for file in HERE.joinpath(*package.split(".")).glob(pattern)
    }
    assert listed == others != set()
