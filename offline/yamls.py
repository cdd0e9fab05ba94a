"""A YAML file that a person hands to an option: its values as texts, and no key given twice.

Texts alone: a shop's "no" is a word of its own, and its 1 is not true. What cannot be written again, half a character,
is refused here, before a job meets it.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from offline.errors import OfflineError


def read(path: Path, option: str) -> Any:
    """What it says: dicts, lists and texts; "" where it says nothing.

    Raises OfflineError, one line that begins with `option`: a file that cannot be read or is no YAML of this kind.
    """
    where = f"{option} {path}"
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Texts)
    except UnicodeDecodeError:
        raise OfflineError(f"{where}: no YAML: not utf-8") from None
    except RecursionError:
        raise OfflineError(f"{where}: no YAML of ours: too deeply nested") from None
    except yaml.MarkedYAMLError as error:
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise OfflineError(f"{where}: no YAML{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise OfflineError(f"{where}: no YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise OfflineError(f"{where}: cannot be read: {error.strerror or error}") from None


class _Texts(yaml.BaseLoader):
    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """Escapes of both halves of a character, as JSON writes it, are that character."""
        try:
            return str(super().construct_scalar(node)).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ConstructorError(None, None, "half a character (a lone surrogate)", node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep=deep)
        seen: set[Any] = set()
        for each, _ in node.value:
            key = self.construct_object(each)
            if key in seen:
                raise ConstructorError(None, None, f"{key!r} is given twice", each.start_mark)
            seen.add(key)
        return found
