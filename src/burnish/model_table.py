"""Reads tables of models: the one that is shipped, and the operator's own, which adds to it."""

from __future__ import annotations

import enum
import importlib.metadata
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from burnish.errors import InvalidArgument

MODELS_FILE: Final = "BURNISH_MODELS_FILE"
PLUGIN_GROUP: Final = "burnish.llm_providers"
_SHIPPED = "models.toml"
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PREFIX = re.compile(r"^(openai|groq|google|gemini|models|meta-llama|qwen|moonshotai|anthropic)/")
_PRICES = ("input_usd", "output_usd")
_KEYS = {
    "providers": ("roles", "any_model"),
    "models": ("provider", "name", "pattern", *_PRICES),
    "refusals": ("pattern", "roles", "message", "fix"),
}
_UNKNOWN = ("warn", "refuse")


class ModelRole(enum.StrEnum):
    """What a model is asked to do."""

    POLICY = "policy"
    PROXY = "proxy"
    PROPOSER = "proposer"
    MUTATION = "mutation"
    META = "meta"
    JUDGE = "judge"
    FEEDBACK_JUDGE = "feedback judge"


EVERY_ROLE: Final = frozenset(ModelRole)
# What the services ask themselves; apps' own calls go through the interceptor.
ASKED_ROLES: Final = EVERY_ROLE - {ModelRole.POLICY, ModelRole.PROXY}


class ModelsInvalid(InvalidArgument):
    """A table of models that cannot be used. Mend the file, and start again."""

    default_reason = "MODELS_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRule:
    """What is known of a provider.

    Attributes:
        roles: What its models may be asked to do.
        any_model: Whether its models are its own affair, and not looked up.
    """

    roles: frozenset[ModelRole] = EVERY_ROLE
    any_model: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model, or a family of them.

    Attributes:
        provider: Who serves it.
        pattern: Matches the whole of a bare name.
        price: None where it is unknown.
    """

    provider: str
    pattern: re.Pattern[str]
    price: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Models that are refused.

    Attributes:
        pattern: Matches the whole of a bare name.
        roles: In which roles.
        message: Why; `{role}` stands for the role.
        fix: What to do.
    """

    pattern: re.Pattern[str]
    roles: frozenset[ModelRole]
    message: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """Everything that is known of models.

    Attributes:
        providers: By name.
        models: The first that matches a name is meant; the operator's come first.
        refusals: All that match hold.
        refuse_unknown: Whether a model that nobody listed is refused.
    """

    providers: Mapping[str, ProviderRule] = field(default_factory=dict)
    models: tuple[ModelEntry, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    refuse_unknown: bool = False

    def extended(self, other: ModelTable) -> ModelTable:
        """Returns this table with another before it; what one refuses the other cannot allow."""
        return ModelTable(
            providers={**self.providers, **other.providers},
            models=(*other.models, *self.models),
            refusals=(*self.refusals, *other.refusals),
            refuse_unknown=self.refuse_unknown or other.refuse_unknown,
        )

    def entries(self, name: str) -> Iterator[ModelEntry]:
        """Yields what a bare name may mean."""
        return (entry for entry in self.models if entry.pattern.fullmatch(name) is not None)


def bare_model(model: str) -> str:
    """Returns a model's name in lower case without a provider's prefix."""
    name = model.strip().lower()
    while (match := _PREFIX.match(name)) is not None:
        name = name[match.end() :]
    return name


@lru_cache(maxsize=8)
def load_table(path: str) -> ModelTable:
    """Returns the shipped table with the operator's own file, and providers that plug-ins add.

    Args:
        path: Of the operator's file; empty for none. A file is read once.

    Raises:
        ModelsInvalid: The file cannot be read; or all that is wrong in it.
    """
    text = files("burnish").joinpath(_SHIPPED).read_text(encoding="utf-8")
    table = parse_table(text, name=_SHIPPED)
    if path:
        try:
            own = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelsInvalid(
                f"the table of models `{path}` cannot be read ({type(error).__name__}); check"
                f" {MODELS_FILE}",
                metadata={"path": path},
            ) from None
        table = table.extended(parse_table(own, name=path, known=table.providers))
    plugins = {point.name for point in importlib.metadata.entry_points(group=PLUGIN_GROUP)}
    rule = ProviderRule(roles=ASKED_ROLES, any_model=True)
    added = {name: rule for name in sorted(plugins - table.providers.keys())}
    return replace(table, providers={**table.providers, **added})


def parse_table(
    text: str, *, name: str, known: Mapping[str, ProviderRule] | None = None
) -> ModelTable:
    """Returns a table of models.

    Args:
        text: TOML.
        name: What messages call it.
        known: Providers that it may name without a table of their own.

    Raises:
        ModelsInvalid: All that is wrong in it.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ModelsInvalid(f"{name}: no TOML: {error}", metadata={"path": name}) from None
    reader = _Reader(raw, frozenset(known or ()))
    table = reader.table()
    if reader.problems:
        raise ModelsInvalid(f"{name}: " + "; ".join(reader.problems), metadata={"path": name})
    return table


class _Reader:
    """Reads one file and gathers what is wrong with it."""

    def __init__(self, raw: Mapping[str, Any], known: frozenset[str]) -> None:
        self.problems: list[str] = []
        self._raw = raw
        given = raw.get("providers", {})
        self._known = known | frozenset(given if isinstance(given, dict) else ())

    def table(self) -> ModelTable:
        for key in self._raw.keys() - {*_KEYS, "unknown_models"}:
            self.problems.append(f"`{key}` is unknown; use unknown_models, {', '.join(_KEYS)}")
        unknown = self._raw.get("unknown_models", "warn")
        if unknown not in _UNKNOWN:
            self.problems.append(f"`unknown_models` is {unknown!r}; use {' or '.join(_UNKNOWN)}")
        return ModelTable(
            providers=dict(self._providers()),
            models=tuple(self._models()),
            refusals=tuple(self._refusals()),
            refuse_unknown=unknown == "refuse",
        )

    def _providers(self) -> Iterator[tuple[str, ProviderRule]]:
        given = self._raw.get("providers", {})
        if not isinstance(given, dict):
            self.problems.append("`providers` is no table; write [providers.NAME]")
            return
        for name, value in given.items():
            place = f"providers.{name}"
            entry = self._entry(place, value, "providers")
            if _PROVIDER_NAME.fullmatch(name) is None:
                self.problems.append(f"`{place}`: use a name of a-z, 0-9, `_` and `-`")
            any_model = entry.get("any_model", False)
            if not isinstance(any_model, bool):
                self.problems.append(f"`{place}.any_model` is {any_model!r}; use true or false")
            yield name, ProviderRule(roles=self._roles(place, entry), any_model=any_model is True)

    def _models(self) -> Iterator[ModelEntry]:
        for place, entry in self._listed("models"):
            provider = entry.get("provider")
            if not isinstance(provider, str) or provider not in self._known:
                listed = ", ".join(sorted(self._known))
                self.problems.append(
                    f"`{place}.provider` is {provider!r}; use one of {listed}, or add"
                    " [providers.NAME]"
                )
            if ("name" in entry) is ("pattern" in entry):
                self.problems.append(f"`{place}`: give either `name` or `pattern`")
                continue
            pattern = self._pattern(place, entry)
            price = self._price(place, entry)
            if pattern is not None:
                yield ModelEntry(provider=str(provider), pattern=pattern, price=price)

    def _refusals(self) -> Iterator[Refusal]:
        for place, entry in self._listed("refusals"):
            for key in ("pattern", "message", "fix"):
                if not isinstance(entry.get(key), str) or not entry[key]:
                    self.problems.append(f"`{place}.{key}` is missing; write it as text")
            pattern = self._pattern(place, entry) if "pattern" in entry else None
            if pattern is not None:
                yield Refusal(
                    pattern=pattern,
                    roles=self._roles(place, entry),
                    message=str(entry.get("message")),
                    fix=str(entry.get("fix")),
                )

    def _listed(self, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        given = self._raw.get(key, [])
        if not isinstance(given, list):
            self.problems.append(f"`{key}` is no list of tables; write [[{key}]]")
            return
        for number, value in enumerate(given):
            place = f"{key}[{number}]"
            yield place, self._entry(place, value, key)

    def _entry(self, place: str, value: object, kind: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.problems.append(f"`{place}` is no table")
            return {}
        for key in value.keys() - set(_KEYS[kind]):
            self.problems.append(f"`{place}.{key}` is unknown; use {', '.join(_KEYS[kind])}")
        return value

    def _roles(self, place: str, entry: Mapping[str, Any]) -> frozenset[ModelRole]:
        given = entry.get("roles", list(ModelRole))
        listed = given if isinstance(given, list) else [given]
        wrong = [role for role in listed if role not in list(ModelRole)]
        if wrong or not listed:
            self.problems.append(
                f"`{place}.roles` is {given!r}; use some of {', '.join(ModelRole)}"
            )
            return EVERY_ROLE
        roles = frozenset(ModelRole(role) for role in listed)
        # A judge that the proposer reads is a judge.
        return roles | {ModelRole.FEEDBACK_JUDGE} if ModelRole.JUDGE in roles else roles

    def _pattern(self, place: str, entry: Mapping[str, Any]) -> re.Pattern[str] | None:
        key = "name" if "name" in entry else "pattern"
        value = entry[key]
        if not isinstance(value, str) or not value:
            self.problems.append(f"`{place}.{key}` is {value!r}; use a text")
            return None
        try:
            return re.compile(re.escape(bare_model(value)) if key == "name" else value)
        except re.error as error:
            self.problems.append(f"`{place}.pattern` is no regular expression: {error}")
            return None

    def _price(self, place: str, entry: Mapping[str, Any]) -> Price | None:
        given = [entry.get(key) for key in _PRICES]
        if given == [None, None]:
            return None
        for key, value in zip(_PRICES, given, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                self.problems.append(f"`{place}.{key}` is {value!r}; give both prices as numbers")
                return None
            if not math.isfinite(value) or value < 0:
                self.problems.append(f"`{place}.{key}` is {value!r}; use a number of at least 0")
                return None
        return Price(input_usd=float(entry[_PRICES[0]]), output_usd=float(entry[_PRICES[1]]))
