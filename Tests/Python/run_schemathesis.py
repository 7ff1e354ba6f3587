"""Runs schemathesis from openapi.yaml against a gateway: run_schemathesis.py OPENAPI_YAML URL SEED"""

import os
import pathlib
import sys
import tempfile

folder = pathlib.Path(__file__).resolve().parent
document, url, seed = sys.argv[1:]
os.chdir(tempfile.gettempdir())  # It keeps a cache where it stands.
os.environ["SCHEMATHESIS_HOOKS"] = "schemathesis_hooks"
os.environ["PYTHONPATH"] = str(folder)
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
os.execv(sys.executable, [
    sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run", document, "--url", url,
    "--seed", seed, "--max-examples", "10", "--phases", "examples,coverage,fuzzing",
    "--suppress-health-check", "all", "--warnings", "off", "--no-shrink", "--request-timeout", "60",
])
