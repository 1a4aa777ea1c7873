"""Makes a task app in about 30 lines: your data, your function, served over HTTP or gRPC.

app = TaskApp(id="intents", rows=ROWS)

@app.rollout
async def run(task: Rollout) -> Result:
    reply = await task.chat([{"role": "user", "content": task.row["text"]}])
    return Result(reward=float(reply.text == task.row["label"]))

serve(app, port=8101)
"""

from burnish.task_app.app import Rollout, SeedUnknown, TaskApp, TaskAppInvalid
from burnish.task_app.auth import AppKeys
from burnish.task_app.chat import ChatFailed, ChatReply
from burnish.task_app.http import HttpServer, start_http
from burnish.task_app.model import (
    Example,
    Program,
    Result,
    RewardInvalid,
    RewardRange,
    RolloutFailed,
    Split,
)
from burnish.task_app.serving import serve
from burnish.task_app.urls import chat_url

__all__ = [
    "AppKeys",
    "ChatFailed",
    "ChatReply",
    "Example",
    "HttpServer",
    "Program",
    "Result",
    "RewardInvalid",
    "RewardRange",
    "Rollout",
    "RolloutFailed",
    "SeedUnknown",
    "Split",
    "TaskApp",
    "TaskAppInvalid",
    "chat_url",
    "serve",
    "start_http",
]
