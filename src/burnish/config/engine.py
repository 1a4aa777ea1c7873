"""Which of MIPRO's two engines searches: the only place where that is decided.

The one that a file names; else `tpe` beside what only `tpe` has; else the race.
"""

from __future__ import annotations

from burnish.config.enums import AdaptiveCurriculumLevel, SearchEngine, SearchProtocol
from burnish.config.table import Table


def choose_engine(table: Table) -> None:
    """Writes the engine into a section, so that it is read back as it was.

    Args:
        table: A whole section by canonical names. One without a table of MIPRO stays as it is.
    """
    if not isinstance(table.get("mipro"), dict) or table.get("mipro.engine") is not None:
        return
    engine = SearchEngine.TPE if _asks_for_tpe(table) else SearchEngine.RACE
    table.put("mipro.engine", engine.value)


def _asks_for_tpe(table: Table) -> bool:
    """Whether anything is given, and not switched off, that the race does not have."""
    protocol, pool = table.get("mipro.protocol"), table.get("mipro.adaptive_pool")
    level = pool.get("level") if isinstance(pool, dict) else None
    return (
        any(table.get(key) is not None for key in ("mipro.auto", "mipro.tpe", "proxy_models"))
        or not _is(protocol, SearchProtocol.BURNISH, absent=True)
        or (pool is not None and not _is(level, AdaptiveCurriculumLevel.NONE, absent=False))
    )


def _is(value: object, choice: SearchProtocol | AdaptiveCurriculumLevel, *, absent: bool) -> bool:
    """Whether a value is a choice, in any letter case as choices are read."""
    return absent if value is None else str(value).strip().lower() == choice.value.lower()
