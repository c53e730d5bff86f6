"""The server's documentation as one page of HTML without scripts, made from its OpenAPI schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
pre { overflow-x: auto; border: 1px solid; padding: .5rem }
h2 { border-top: 1px solid; padding-top: 1rem }
"""


def documentation(schema: dict[str, Any]) -> str:
    """The page for an OpenAPI schema."""
    title = escape(schema["info"]["title"])
    sections = "\n".join(_sections(schema))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body>"
        f"<main><h1>{title}</h1><p>{escape(schema['info']['description'])}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{sections}</main></body></html>"
    )


def _sections(schema: dict[str, Any]) -> Iterator[str]:
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(route.get('description', route['summary']))}</p>"
            for parameter in route.get("parameters", ()):
                yield _schema(f"{parameter['name']} ({parameter['in']})", parameter["schema"])
            if "requestBody" in route:
                content = route["requestBody"]["content"]["application/json"]["schema"]
                yield _schema("Body", _resolve(schema, content))
            for status, answer in route["responses"].items():
                content = answer.get("content", {}).get("application/json", {}).get("schema", {})
                name = f"Answer {status}: {answer['description']}"
                yield _schema(name, _resolve(schema, content))


def _schema(name: str, content: dict[str, Any]) -> str:
    shown = escape(json.dumps(content, indent=2, ensure_ascii=False))
    return f"<details><summary>{escape(name)}</summary><pre>{shown}</pre></details>"


def _resolve(schema: dict[str, Any], content: Any) -> Any:
    """The content with each reference replaced by what it refers to."""
    if isinstance(content, list):
        return [_resolve(schema, each) for each in content]
    if not isinstance(content, dict):
        return content
    if "$ref" in content:
        return _resolve(schema, schema["components"]["schemas"][content["$ref"].split("/")[-1]])
    return {key: _resolve(schema, value) for key, value in content.items()}
