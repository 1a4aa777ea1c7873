"""Reads the texts that a proposer may look things up in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from burnish.config.problems import Findings

MAX_BYTES = 2_000_000


def read_references(
    paths: Sequence[str], base_dir: Path | None, findings: Findings
) -> tuple[str, ...]:
    """Returns the texts of files, in order; what cannot be read is a problem each.

    Args:
        paths: Paths relative to `base_dir`.
        base_dir: Where the configuration is; None when it came from no file.
        findings: Told of everything.
    """
    texts: list[str] = []
    size = 0
    for place, path in enumerate(paths):
        where = f"reference_files[{place}]"
        if base_dir is None:
            findings.problem(
                where, path, "is a file, and there is no folder to find it in", "give base_dir"
            )
            continue
        try:
            data = (base_dir / path).read_bytes()
            text = data.decode("utf-8-sig")
        except OSError:
            findings.problem(where, path, "cannot be read", "check the path")
            continue
        except UnicodeDecodeError:
            findings.problem(where, path, "is not text in UTF-8", "convert it")
            continue
        size += len(data)
        if text.strip():
            texts.append(text)
        else:
            findings.warn(where, "is empty")
    if size > MAX_BYTES:
        findings.problem(
            "reference_files", f"{size} bytes", "is too much to choose from",
            f"keep all files together within {MAX_BYTES} bytes",
        )  # fmt: skip
    return tuple(texts)
