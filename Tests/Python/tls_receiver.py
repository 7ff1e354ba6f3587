"""A receiver that speaks TLS and asks for a client's certificate.

    tls_receiver.py FOLDER

FOLDER holds authority.pem, receiver.pem and receiver.key. The port is printed; of each request a line goes to
FOLDER/requests: the common name of the client's certificate, or `nobody`.
"""

import http.server
import ssl
import sys

FOLDER = sys.argv[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        names = [pair for part in (self.connection.getpeercert() or {}).get("subject", ()) for pair in part]
        with open(f"{FOLDER}/requests", "a") as file:
            file.write(dict(names).get("commonName", "nobody") + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{FOLDER}/receiver.pem", f"{FOLDER}/receiver.key")
context.load_verify_locations(f"{FOLDER}/authority.pem")
context.verify_mode = ssl.CERT_OPTIONAL
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
