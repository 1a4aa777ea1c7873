"""Gold answers score 1 and corrupted ones 0, every time: labels, numbers, JSON, SQL and code.

Every corruption is wrong by construction, or is shown to be by running it here.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.background import BackgroundLoop
from burnish.graph_files import read_graph
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_verifier.app import VerifierApp

SECONDS = 120.0
ROUNDS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
SLOW_ROUNDS = settings(ROUNDS, max_examples=8)


@dataclass
class Scorer:
    """A verifier that is served, for tests that are not coroutines."""

    loop: BackgroundLoop
    stub: verifier_v1.VerifierServiceStub

    def register(self, nodes: Sequence[dict[str, Any]], output: str = "check") -> str:
        graph = read_graph({"nodes": list(nodes), "output_node": output})
        request = verifier_v1.CreateVerifierGraphRequest(verifier_graph=graph)

        async def create() -> str:
            async with rpc.translated():
                response = await self.stub.CreateVerifierGraph(request, timeout=SECONDS)
            return str(response.verifier_graph.name)

        return self.loop.run(create())

    def outcomes(self, graph: str, answers: Sequence[object], reference: object) -> list[float]:
        """The outcome of each answer; a rollout that is not scored fails the test."""
        rollouts = [
            types_v1.RolloutResult(
                rollout_id=f"r{place}",
                output=json.dumps({"answer": answer}).encode(),
                reference=json.dumps(reference).encode(),
            )
            for place, answer in enumerate(answers)
        ]
        request = verifier_v1.ScoreRolloutsRequest(verifier_graph=graph, rollouts=rollouts)

        async def score() -> list[float]:
            async with rpc.translated():
                response = await self.stub.ScoreRollouts(request, timeout=SECONDS)
            failed = [one.failure for one in response.scored_rollouts if one.HasField("failure")]
            assert not failed, failed
            return [one.reward.outcome for one in response.scored_rollouts]

        return self.loop.run(score())


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    folder: Path = tmp_path_factory.mktemp("verifier")
    loop = BackgroundLoop()
    served = running(VerifierApp(ServiceSettings(service="verifier", state_dir=folder)))
    channel = loop.run(served.__aenter__())
    yield Scorer(loop, verifier_v1.VerifierServiceStub(channel))
    loop.run(served.__aexit__(None, None, None))
    loop.close()


def check(name: str, *, node_id: str = "check", **chosen: Any) -> dict[str, Any]:
    return {"id": node_id, "builtin": {"check": name, "settings": chosen}}


def every(values: Sequence[float], wanted: float) -> None:
    assert list(values) == [wanted] * len(values)


# Labels

LABELS = ["card_arrival", "lost_card", "refund", "transfer_timing"]


@pytest.mark.parametrize("label", LABELS)
def test_the_gold_label_scores_1(scorer, label):
    graph = scorer.register([check("normalized_match")])
    every(scorer.outcomes(graph, [label, label.upper(), f" {label}. "], label), 1.0)


@ROUNDS
@given(gold=st.sampled_from(LABELS), data=st.data())
def test_a_corrupted_label_scores_0(scorer, gold, data):
    graph = scorer.register([check("exact_match")])
    other = st.sampled_from([one for one in LABELS if one != gold])
    at = st.integers(0, len(gold) - 1)
    cut = at.map(lambda place: gold[:place] + gold[place + 1 :])
    longer = st.text(min_size=1, max_size=20).map(lambda text: gold + text)
    both = other.map(lambda one: f"{gold} or {one}")
    wrong = st.one_of(other, cut, longer, both, st.text(max_size=10), st.none(), st.integers())
    answers = data.draw(st.lists(wrong.filter(lambda one: one != gold), min_size=10, max_size=20))
    every(scorer.outcomes(graph, answers, gold), 0.0)


# Numbers


@ROUNDS
@given(gold=st.integers(-(10**9), 10**9))
def test_the_gold_number_scores_1_however_it_is_written(scorer, gold):
    graph = scorer.register([check("numeric", extract="last")])
    forms = [gold, float(gold), str(gold), f"The total is {gold}", f"{gold:,}", f"{gold}.0"]
    every(scorer.outcomes(graph, forms, gold), 1.0)


@ROUNDS
@given(gold=st.integers(-(10**6), 10**6), data=st.data())
def test_a_corrupted_number_scores_0(scorer, gold, data):
    graph = scorer.register([check("numeric", extract="whole", absolute_tolerance=0.5)])
    off = st.integers(1, 10**6).flatmap(lambda by: st.sampled_from([gold + by, gold - by]))
    words = st.text(alphabet="abcxyz ,.", max_size=12)
    scaled = st.sampled_from([(gold or 1) * 10, -(gold or 1), f"{gold} or {gold + 3}"])
    wrong = st.one_of(off, off.map(str), words, scaled, st.none(), st.just([]), st.just({}))
    answers = data.draw(
        st.lists(wrong.filter(lambda one: not near(one, gold)), min_size=10, max_size=20)
    )
    every(scorer.outcomes(graph, answers, gold), 0.0)


def near(answer: object, gold: int) -> bool:
    try:
        return abs(float(str(answer)) - gold) <= 0.5
    except ValueError:
        return False


# JSON

INVOICE: dict[str, Any] = {
    "number": "A-17",
    "total": 120.5,
    "lines": [{"item": "pen", "count": 2}],
    "paid": False,
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["number", "total", "lines", "paid"],
    "properties": {
        "number": {"type": "string"},
        "total": {"type": "number"},
        "paid": {"type": "boolean"},
        "lines": {"type": "array", "items": {"type": "object", "required": ["item", "count"]}},
    },
}
JSON_NODES = [
    check("json_schema", node_id="form", schema=SCHEMA),
    check("exact_match", node_id="content"),
    {"id": "check", "inputs": ["form", "content"], "minimum": {}},
]


def test_gold_json_scores_1_in_any_order_of_keys(scorer):
    graph = scorer.register(JSON_NODES)
    turned = dict(reversed(list(INVOICE.items())))
    every(scorer.outcomes(graph, [INVOICE, turned], INVOICE), 1.0)


PLAIN: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4), st.just([])
)


@st.composite
def corrupted_json(draw: st.DrawFn) -> object:
    value: dict[str, Any] = json.loads(json.dumps(INVOICE))
    key = draw(st.sampled_from(sorted(value)))
    way = draw(st.sampled_from(["drop", "change", "add", "line", "text", "list", "rename"]))
    if way == "drop":
        del value[key]
    elif way == "change":
        value[key] = draw(PLAIN.filter(lambda one: json.dumps(one) != json.dumps(INVOICE[key])))
    elif way == "add":
        value[draw(st.text(min_size=1, max_size=5).filter(lambda one: one not in INVOICE))] = 1
    elif way == "line":
        value["lines"] = draw(st.sampled_from([[], INVOICE["lines"] * 2, [{"item": "pen"}]]))
    elif way == "rename":
        value[f"{key}_"] = value.pop(key)
    if way == "text":
        return json.dumps(value)[: draw(st.integers(0, 20))]
    return [value] if way == "list" else value


@ROUNDS
@given(answers=st.lists(corrupted_json(), min_size=10, max_size=20))
def test_corrupted_json_scores_0(scorer, answers):
    graph = scorer.register(JSON_NODES)
    every(scorer.outcomes(graph, answers, INVOICE), 0.0)


# SQL

SETUP = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, shop TEXT);
INSERT INTO item (name, price, shop) VALUES
  ('pen', 2.0, 'north'), ('ink', 5.5, 'north'), ('desk', 120.0, 'south'),
  ('lamp', 35.0, 'south'), ('chair', 60.0, 'north'), ('pad', 5.5, 'east');
"""
GOLD_SQL = "SELECT name FROM item WHERE price > 10 ORDER BY price"
SAME_SQL = [
    GOLD_SQL,
    "select name from item where price >= 10.01",
    "SELECT name FROM (SELECT * FROM item) AS t WHERE NOT price <= 10;",
    "WITH dear AS (SELECT * FROM item WHERE price > 10) SELECT name FROM dear ORDER BY id DESC",
]


def returned(sql: str) -> object:
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(SETUP)
        return sorted(map(repr, database.execute(sql).fetchall()))
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        return repr(error)
    finally:
        database.close()


def test_gold_sql_scores_1_however_it_is_written(scorer):
    graph = scorer.register([check("sql_result")])
    every(scorer.outcomes(graph, SAME_SQL, {"setup": SETUP, "sql": GOLD_SQL}), 1.0)


@st.composite
def corrupted_sql(draw: st.DrawFn) -> str:
    column = draw(st.sampled_from(["name", "id", "price", "shop", "*", "count(*)", "nmae"]))
    table = draw(st.sampled_from(["item", "items", "item, item AS b"]))
    limit = draw(st.sampled_from(["", " LIMIT 1", " LIMIT 0"]))
    test = draw(st.sampled_from([">", "<", "=", "!="]))
    bound = draw(st.integers(0, 200))
    shapes = [
        f"SELECT {column} FROM {table} WHERE price {test} {bound}{limit}",  # noqa: S608 - the point
        f"SELECT {column} FROM {table}{limit}",  # noqa: S608 - the point
        "DROP TABLE item",
        "; ".join(["DELETE FROM item", GOLD_SQL]),
        GOLD_SQL.replace("SELECT", "SELEKT"),
        f"SELECT '{column}'",
        "I would select the names of dear items.",
        "",
    ]
    return draw(st.sampled_from(shapes))


@SLOW_ROUNDS
@given(
    answers=st.lists(
        corrupted_sql().filter(lambda sql: returned(sql) != returned(GOLD_SQL)),
        min_size=8, max_size=12,
    )
)  # fmt: skip
def test_corrupted_sql_scores_0(scorer, answers):
    graph = scorer.register([check("sql_result")])
    every(scorer.outcomes(graph, answers, {"setup": SETUP, "sql": GOLD_SQL}), 0.0)


# Code

CALLS = [
    {"args": [n], "expected": "fizzbuzz" if n % 15 == 0 else "fizz" if n % 3 == 0
     else "buzz" if n % 5 == 0 else n}
    for n in range(1, 31)
]  # fmt: skip
TASK = {"function": "say", "calls": CALLS}
GOLD_CODE = """
def say(n):
    if n % 15 == 0:
        return "fizzbuzz"
    if n % 3 == 0:
        return "fizz"
    return "buzz" if n % 5 == 0 else n
"""
SAME_CODE = [
    GOLD_CODE,
    "say = lambda n: ('fizz' * (n % 3 == 0) + 'buzz' * (n % 5 == 0)) or n",
    "import functools\n@functools.cache\ndef say(n):\n"
    "    words = [w for d, w in ((3, 'fizz'), (5, 'buzz')) if not n % d]\n"
    "    return ''.join(words) or n\n",
]
CHEATS = [
    "",
    "def say(n): return None",
    "def other(n): return n",
    "def say(n): raise ValueError(n)",
    "def say(n): return {'value': 'fizz'}",
    "import os\nos._exit(0)",
    "import sys\nsys.exit(0)",
    "def say(n): print('[true]'); return True",
    "class Yes:\n    def __eq__(self, other): return True\ndef say(n): return Yes()",
    "def say(n):\n    import socket\n    socket.create_connection(('127.0.0.1', 1))\n",
    "def say(n): return open('/etc/passwd').read()",
    "def say(n) return n",
    "Here is the code: it says fizz and buzz.",
]


def test_gold_code_scores_1_however_it_is_written(scorer):
    graph = scorer.register([check("python_tests", time_limit=20)])
    every(scorer.outcomes(graph, SAME_CODE, TASK), 1.0)


def test_code_that_is_out_to_cheat_scores_0(scorer):
    graph = scorer.register([check("python_tests", time_limit=20)])
    every(scorer.outcomes(graph, CHEATS, TASK), 0.0)


@st.composite
def corrupted_code(draw: st.DrawFn) -> str:
    three, five = draw(st.tuples(st.integers(2, 7), st.integers(2, 7)))
    fizz, buzz = draw(st.sampled_from([("fizz", "buzz"), ("buzz", "fizz"), ("Fizz", "Buzz")]))
    end = draw(st.sampled_from(["n", "str(n)", "-n", "None", "n + 0.5"]))
    right = (three, five, fizz, buzz, end) == (3, 5, "fizz", "buzz", "n")
    body = f"('{fizz}' * (n % {three} == 0) + '{buzz}' * (n % {five} == 0)) or {end}"
    return "def say(n): return 'wrong'" if right else f"def say(n):\n    return {body}\n"


@SLOW_ROUNDS
@given(answers=st.lists(corrupted_code(), min_size=6, max_size=8))
def test_corrupted_code_scores_0(scorer, answers):
    graph = scorer.register([check("python_tests", time_limit=20)])
    every(scorer.outcomes(graph, answers, TASK), 0.0)


def test_code_that_never_ends_scores_0(scorer):
    graph = scorer.register([check("python_tests", time_limit=1)])
    every(scorer.outcomes(graph, ["def say(n):\n    while True: pass\n"], TASK), 0.0)
