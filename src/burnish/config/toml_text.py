"""Parses TOML from people one does not trust: bounded in size, depth and key length.

tomllib needs quadratic time for a key of thousands of dots and recursion for nested arrays, so
both are measured by a scan that skips strings and comments, before tomllib sees the text.
"""

from __future__ import annotations

import re
import tomllib

from burnish.config.base import Raw
from burnish.config.problems import ConfigError, Problem

MAX_BYTES = 256_000
MAX_DOTS = 32
MAX_DEPTH = 32

# Every alternative matches whatever follows, so that no text makes the scan start over: an unclosed
# string runs to its end, and tomllib refuses it there.
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.?)*?(?:"""|\Z)(?:"{0,2})'
    r"|'''.*?(?:'''|\Z)(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.?)*"?'
    r"|'[^'\n]*'?"
    r"|#[^\n]*"
    r"|[\[\]{}.=,\n]",
    re.DOTALL,
)


def parse_toml(text: str | bytes, *, source: str = "configuration") -> Raw:
    """Parses a TOML document.

    Raises:
        ConfigError: Too large, too deep, not UTF-8 or not TOML.
    """
    size = len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else len(text)
    if size > MAX_BYTES:
        raise _refused(source, f"has {size} bytes", f"keep it within {MAX_BYTES} bytes")
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        _scan(decoded, source)
        return tomllib.loads(decoded)
    except ConfigError:
        raise
    except UnicodeDecodeError as error:
        raise _refused(source, "is not UTF-8", "save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _refused(source, f"is not TOML: {error}", "correct the line named") from error
    except (RecursionError, ValueError) as error:
        raise _refused(
            source, "holds a value that cannot be read", "shorten its numbers and nesting"
        ) from error


def _refused(source: str, message: str, fix: str) -> ConfigError:
    problem = Problem(path="(file)", value="(text)", message=message, fix=fix)
    return ConfigError([problem], source=source)


def _scan(text: str, source: str) -> None:
    depth = dots = 0
    for match in _TOKEN.finditer(text):
        mark = match.group()
        if mark == ".":
            dots += 1
            if dots > MAX_DOTS:
                line = text.count("\n", 0, match.start()) + 1
                raise _refused(
                    source,
                    f"has a key of more than {MAX_DOTS} dots on line {line}",
                    "use fewer nested tables",
                )
        elif mark in {"[", "{"}:
            depth, dots = depth + 1, 0
            if depth > MAX_DEPTH:
                line = text.count("\n", 0, match.start()) + 1
                raise _refused(
                    source,
                    f"nests more than {MAX_DEPTH} deep on line {line}",
                    "use fewer nested arrays and tables",
                )
        elif mark in {"]", "}"}:
            depth, dots = max(0, depth - 1), 0
        elif mark in {"=", ",", "\n"}:
            dots = 0
