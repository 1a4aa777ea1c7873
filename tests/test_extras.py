"""Each extra installs what its service imports, and no extra installs what nobody imports.

What a service imports is read from the source: its own modules, and the modules of `burnish` and
`burnish_runtime` that they lead to.
"""

import ast
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("controller", "interceptor", "proposer", "search", "verifier")
REQUIRED = {"grpcio", "grpcio-tools", "protobuf", "optuna", "openai", "groq", "google-genai"}
DISTRIBUTION_OF = {
    "aiohttp": "aiohttp",
    "anthropic": "anthropic",
    "alembic": "alembic",
    "cryptography": "cryptography",
    "dbos": "dbos",
    "genai_prices": "genai-prices",
    "google.genai": "google-genai",
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "groq": "groq",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "httptools": "httptools",
    "jsonschema": "jsonschema",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "openai": "openai",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-sdk",  # its API comes with the one SDK that fits
    "optuna": "optuna",
    "orjson": "orjson",
    "prometheus_client": "prometheus-client",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic",  # pydantic pins the one version of it that fits
    "pytest": "pytest",
    "referencing": "referencing",
    "rich": "rich",
    "sqlalchemy": "sqlalchemy",
    "stamina": "stamina",
    "structlog": "structlog",
    "typer": "typer",
    "uvloop": "uvloop",
    "yaml": "pyyaml",
    "zstandard": "zstandard",
}
# Used without an import of ours, or not by a service.
NAMESPACES = ("google", "opentelemetry")
NEVER_IMPORTED = {
    "aiosqlite": "SQLAlchemy's driver, named in the database's URL",
    "grpcio-tools": "run as a program by scripts/gen_protos.py",
}
# What the SDK uses only where it is asked for, by folder below src/burnish.
OPTIONAL_IN_SDK = {
    "local": "local",
    "optuna_export": "search",
    "prices": "llm",
    "rubric_files": "verifier",
    "task_app": "llm",
    "testing": "dev",
}
# What a service imports only when it is told to, by module.
OPTIONAL_IN_SERVICE = {
    "burnish_interceptor.otel": "telemetry",
    "burnish_runtime.llm.anthropic": "anthropic",
}
# What a service's extra brings for modules of the SDK, which import it where it is there.
FOR_THE_SDK = {"controller": {"genai-prices"}, "verifier": {"pyyaml"}}
LAZY_ONLY = ("openai", "groq", "google.genai", "optuna")


@cache
def project() -> dict[str, list[str]]:
    """Requirements as they stand in pyproject.toml, by extra; the base ones under ``.

    Read from the file, because the metadata of an editable install is as old as that install.
    """
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def installed_by(extra: str) -> set[str]:
    """Names of the distributions that `burnish[extra]` asks for itself."""
    found = set()
    for text in [*project()[""], *project()[extra]]:
        requirement = Requirement(text)
        if requirement.name == "burnish":
            found |= {name for one in requirement.extras for name in installed_by(one)}
        else:
            found.add(canonicalize_name(requirement.name))
    return found


@cache
def sources() -> dict[str, Path]:
    """Every handwritten module by its dotted name."""
    roots = [ROOT / "src", *sorted((ROOT / "services").iterdir())]
    found = {}
    for root in roots:
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[:2] != ("burnish", "api"):
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, inside_functions: bool) -> Iterator[str]:
    """Yields the dotted names that a module imports, but not those for type checkers."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                if inside_functions:
                    yield from walk(child)
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for statement in child.orelse:
                    yield from walk(statement)
            else:
                yield from walk(child)

    yield from walk(ast.parse(path.read_text()))


def foreign(name: str) -> str | None:
    """The import root of a name that is neither ours nor the standard library's."""
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names or root.startswith("burnish"):
        return None
    return ".".join(name.split(".")[:2]) if root in NAMESPACES else root


def reached_from(package: str) -> tuple[set[str], set[str]]:
    """The modules of ours and the import roots of others that a package leads to."""
    waiting = [name for name in sources() if name.split(".")[0] == package]
    ours: set[str] = set()
    others: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in ours or module in OPTIONAL_IN_SERVICE:
            continue
        ours.add(module)
        # What the SDK imports inside functions, it imports only for who asks for it.
        lazy = not module.startswith("burnish.") and module != "burnish"
        for name in imports(sources()[module], inside_functions=lazy):
            root = foreign(name)
            if root is not None:
                others.add(root)
            parts = name.split(".")
            above = [".".join(parts[: length + 1]) for length in range(len(parts))]
            waiting += [one for one in above if one in sources()]
    return ours, others


@pytest.mark.parametrize("service", SERVICES)
def test_an_extra_covers_every_import_of_its_service(service):
    _, others = reached_from(f"burnish_{service}")
    missing = {DISTRIBUTION_OF.get(root, root) for root in others} - installed_by(service)
    assert missing == set(), f"add to the extra `{service}` or to one that it includes"


@pytest.mark.parametrize(("module", "extra"), OPTIONAL_IN_SERVICE.items())
def test_what_a_service_may_do_without_has_an_extra_of_its_own(module, extra):
    roots = {foreign(name) for name in imports(sources()[module], inside_functions=True)} - {None}
    service = module.partition(".")[0].removeprefix("burnish_")
    needed = {DISTRIBUTION_OF[str(root)] for root in roots}
    assert needed - installed_by(service) == installed_by(extra) - installed_by("")


def test_the_base_covers_what_the_sdk_imports_by_itself():
    missing = {}
    for name, path in sources().items():
        if name.split(".")[0] != "burnish":
            continue
        extra = OPTIONAL_IN_SDK.get(name.split(".")[1] if "." in name else "", "")
        allowed = installed_by(extra) if extra else {Requirement(one).name for one in project()[""]}
        roots = {foreign(one) for one in imports(path, inside_functions=True)} - {None}
        found = {DISTRIBUTION_OF.get(str(root), str(root)) for root in roots} - allowed
        if found:
            missing[name] = found
    assert missing == {}


def test_the_runtime_covers_what_every_service_starts_with():
    roots = {
        foreign(name)
        for module, path in sources().items()
        if module.startswith("burnish_runtime") and not module.startswith("burnish_runtime.llm")
        for name in imports(path, inside_functions=True)
    } - {None}
    assert {DISTRIBUTION_OF.get(str(root), str(root)) for root in roots} <= installed_by("runtime")


def test_nothing_is_installed_that_nobody_imports():
    roots = {
        foreign(name)
        for path in sources().values()
        for name in imports(path, inside_functions=True)
    }
    used = {DISTRIBUTION_OF[root] for root in roots if root is not None}
    assert installed_by("all") - used == set(NEVER_IMPORTED)


@pytest.mark.parametrize("service", SERVICES)
def test_no_extra_brings_what_only_another_service_needs(service):
    _, others = reached_from(f"burnish_{service}")
    used = {DISTRIBUTION_OF.get(root, root) for root in others}
    own = {
        canonicalize_name(Requirement(text).name)
        for text in project()[service]
        if Requirement(text).name != "burnish"
    }
    assert own - used - set(NEVER_IMPORTED) == FOR_THE_SDK.get(service, set())


def test_provider_sdks_and_optuna_are_imported_where_they_are_used():
    eager = {
        f"{module}: {name}"
        for module, path in sources().items()
        for name in imports(path, inside_functions=False)
        if foreign(name) in LAZY_ONLY
    }
    assert eager == set()


def test_all_brings_the_seven_required_packages():
    assert installed_by("all") >= REQUIRED


def test_the_installed_package_asks_for_the_seven_required_packages_too():
    texts = importlib.metadata.requires("burnish") or []
    requirements = [Requirement(text) for text in texts]

    def asked_for(extra: str) -> set[str]:
        found = set()
        for requirement in requirements:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                if requirement.name == "burnish":
                    found |= {name for one in requirement.extras for name in asked_for(one)}
                else:
                    found.add(canonicalize_name(requirement.name))
        return found

    assert asked_for("all") >= REQUIRED


def test_constraints_pin_every_requirement_once_and_name_no_address():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines]
    assert all(str(one.specifier).startswith("==") and one.url is None for one in pinned)
    names = {canonicalize_name(one.name) for one in pinned}
    wanted = {
        canonicalize_name(Requirement(text).name) for texts in project().values() for text in texts
    }
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted |= {canonicalize_name(Requirement(text).name) for text in build}
    assert wanted - {"burnish"} - names == set()


def test_constraints_satisfy_the_requirements():
    pins = {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in map(Requirement, (ROOT / "constraints.txt").read_text().splitlines())
        if one.marker is None or one.marker.evaluate()
    }
    broken = [
        text
        for texts in project().values()
        for text in texts
        if Requirement(text).name != "burnish"
        and not Requirement(text).specifier.contains(
            pins[canonicalize_name(Requirement(text).name)], prereleases=True
        )
    ]
    assert broken == []
