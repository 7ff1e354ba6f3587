"""Generates a client from openapi.yaml and goes through a consumer's day with it.

    generated_client.py OPENAPI_YAML FOLDER URL STREAM

The client is what a user gets who gives openapi.yaml to openapi-python-client; nothing in it is ours. One
body form is left out: a list beside other forms makes this generator write `isinstance(body, list[CloudEvent])`,
which Python refuses.
"""

import importlib
import inspect
import json
import pathlib
import pkgutil
import subprocess
import sys

from ruamel.yaml import YAML


def without_lists(document, folder):
    yaml = YAML()
    described = yaml.load(pathlib.Path(document))
    body = described["paths"]["/v1/streams/{stream}/messages"]["post"]["requestBody"]
    del body["content"]["application/cloudevents-batch+json"]
    path = pathlib.Path(folder) / "openapi.yaml"
    yaml.dump(described, path)
    return path


def generate(document, folder):
    # Media types that the generator does not know, as ones that it does.
    config = f"{folder}/config.json"
    with open(config, "w") as file:
        json.dump({
            "content_type_overrides": {
                "application/x-ndjson": "application/octet-stream",
                "application/cloudevents+json": "application/json",
                "application/yaml": "application/octet-stream",
                "text/plain": "application/octet-stream",
            },
            "post_hooks": [],
        }, file)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--config", config,
               "--meta", "none", "--output-path", f"{folder}/sluice_client", "--fail-on-warning"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def call(operation, *arguments, **options):
    """The parsed answer of an operation, given as `tag.operation_name`."""
    return importlib.import_module(f"sluice_client.api.{operation}").sync(*arguments, client=client, **options)


document, folder, url, stream = sys.argv[1:]
generate(without_lists(document, folder), folder)
sys.path.insert(0, folder)
from sluice_client import Client, api, models  # noqa: E402, made a moment ago

client = Client(base_url=url)

created = call("groups.create_group", stream, "g", mkstream=True)
assert created.created is True, created

message = models.NewMessage.from_dict({"fields": {"orderID": "1001", "amount": "99.99"}})
added = call("messages.add_messages", stream, body=message)
assert added.id, added

read = call("consuming.read_messages", stream, "g", "worker-1", count=10, block_ms=1000)
assert [message.id for message in read.messages] == [added.id], read
assert read.messages[0].fields.to_dict() == {"orderID": "1001", "amount": "99.99"}, read

assert call("consuming.show_pending", stream, "g").pending == 1
acked = call("consuming.ack_messages", stream, "g", body=models.IDs(ids=[added.id]))
assert acked.acked == 1, acked

missing = call("groups.show_group", stream, "nobody")
assert missing.code.value == "GROUP_NOT_FOUND" and missing.status == 404, missing
assert [group.name for group in call("groups.list_groups", stream).groups] == ["g"]

# A generated client sends the defaults that openapi.yaml states: none of them may be refused where it stands alone.
given = {"stream": stream, "group": "g", "consumer": "worker-1", "id": added.id, "after": ["earliest"], "name": "hook"}
bodies = {
    "add_messages": message,
    "put_sink": models.NewSink.from_dict({"streams": [stream], "url": "http://127.0.0.1:1/"}),
    "put_policy": models.NewPolicy.from_dict({"max_idle_ms": 60000, "max_deliveries": 8}),
    "set_group_id": models.GroupChange.from_dict({"id": "earliest"}),
    "set_stream_id": models.StreamChange.from_dict({"last_id": added.id}),
    "settle_messages": models.Settlement.from_dict({"ack": [added.id]}),
}
asked = 0
for module in pkgutil.walk_packages(api.__path__, "sluice_client.api."):
    if module.ispkg:
        continue
    operation = importlib.import_module(module.name).sync_detailed
    name = module.name.rsplit(".", 1)[1]
    arguments = {"body": bodies.get(name, models.IDs(ids=[added.id]))} if "body" in inspect.signature(operation).parameters else {}
    for parameter in inspect.signature(operation).parameters.values():
        if parameter.default is parameter.empty and parameter.name not in ("client", "body"):
            arguments[parameter.name] = [stream] if parameter.name == "stream" and "of_streams" in name else given[parameter.name]
    if name == "stream_messages":
        continue  # It has no end, and the client waits for one.
    if name == "trim_stream":
        arguments["maxlen"] = 100
    answer = operation(client=client, **arguments)
    # What changes a group by GET wants to be asked for by name: `Accept: text/event-stream`, and this client says nothing.
    assert answer.status_code < 400 or answer.status_code in (404, 409) or (name, answer.status_code) == ("follow_messages", 406), (name, answer)
    asked += 1
assert asked > 35, asked
print("every call of the generated client went well")
