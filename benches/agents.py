"""Calls the tools of `spanqa mcp` by the MCP Inspector, the protocol's own client, and checks what comes back.

    npm install @modelcontextprotocol/inspector
    python benches/agents.py --spanqa PATH --inspector node_modules/.bin/mcp-inspector
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

TEXT = "The lighthouse stands on a rock.\nIt was built by Ingrid Dahl in 1871.\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spanqa", type=Path, required=True)
    parser.add_argument("--inspector", type=Path, required=True)
    args = parser.parse_args()
    spanqa, inspector = str(args.spanqa.resolve()), str(args.inspector.resolve())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "lighthouse.txt").write_text(TEXT)

        def inspect(method, *more):
            command = [inspector, "--cli", spanqa, "mcp", "--root", folder, "--method", method, *more]
            return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

        def call(tool, **arguments):
            pairs = [word for name, value in arguments.items() for word in ("--tool-arg", f"{name}={value}")]
            result = inspect("tools/call", "--tool-name", tool, *pairs)
            assert not result.get("isError"), result
            print(f"{tool}: {json.dumps(result['structuredContent'])[:100]}")
            return result["structuredContent"]

        tools = [tool["name"] for tool in inspect("tools/list")["tools"]]
        assert tools == ["find_quotes", "search_passages", "read_lines", "verify_quote", "status"], tools
        assert call("find_quotes", question="Who built the lighthouse?")["answers"][0]["text"] == "Ingrid Dahl"
        assert call("search_passages", query="lighthouse", k=1)["passages"][0]["line"] == 1
        read = call("read_lines", path="lighthouse.txt", **{"from": 2})
        assert read["lines"][0]["text"].startswith("It was built"), read
        assert call("verify_quote", quote="built by ingrid dahl")["verdict"] == "normalised"
        assert call("status")["files"] == 1


if __name__ == "__main__":
    main()
