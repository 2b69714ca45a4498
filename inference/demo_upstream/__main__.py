"""Run the demonstration server: python -m inference.demo_upstream --port 8001."""

import argparse
import os

import uvicorn

from inference.demo_upstream.app import DemoUpstream


def main() -> None:
    parser = argparse.ArgumentParser(description="A demonstration model server. It has no model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--models", default="demo", help="names for /v1/models, separated by commas")
    parser.add_argument("--faults", action="store_true", help="let requests ask for faults (tests only)")
    asked = parser.parse_args()
    application = DemoUpstream(
        models=asked.models.split(","),
        key=os.environ.get("MODEL_UPSTREAM_KEY", ""),
        listens_to_faults=asked.faults,
    )
    uvicorn.run(application, host=asked.host, port=asked.port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
