"""Reads what a sink has posted with the libraries that its receivers use.

    read_deliveries.py FILE events|bodies SECRET...

FILE is a JSON list of {"headers": {…}, "body": "base64"}. Each is verified by standardwebhooks with every secret; with
`events` the cloudevents package takes it apart, and a line {"attributes", "data"} is printed for it.
"""

import base64
import datetime
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook


def shown(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def is_text(body):
    try:
        body.decode()
        return True
    except UnicodeDecodeError:
        return False


def main():
    path, kind, *secrets = sys.argv[1:]
    with open(path) as file:
        deliveries = json.load(file)
    for delivery in deliveries:
        headers, body = delivery["headers"], base64.b64decode(delivery["body"])
        if is_text(body):  # standardwebhooks 1.1 signs text only.
            for secret in secrets:
                Webhook(secret).verify(body, headers, json_parse=False)
        if kind == "events":
            event = from_http_event(HTTPMessage(headers=headers, body=body))
            attributes = {name: shown(value) for name, value in event.get_attributes().items()}
            print(json.dumps({"attributes": attributes, "data": shown(event.get_data())}))
    print(f"{len(deliveries)} deliveries verified")


main()
