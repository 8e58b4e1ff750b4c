"""The page `/docs`: OpenAPI's document as plain HTML. It needs no network and runs no script, its own or one that a
model's folder brings along."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2b24; }
h2 { font: 600 1.1rem/1.4 ui-monospace, monospace; border-top: 1px solid #cdd8d1; padding-top: 1.2rem; }
pre { background: #f2f6f3; padding: .8rem; overflow-x: auto; }
td, th { text-align: left; padding: .1rem 1.5rem .1rem 0; vertical-align: top; }
code { font-family: ui-monospace, monospace; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors "
        "'none'"
    ),
    "x-content-type-options": "nosniff",
}
_EXAMPLES: dict[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "string": "…", "null": None}

Schema = dict[str, Any]


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """What can be asked, with the requests of each model, typed by the version that serves."""
    document = request.app.openapi()
    title = escape(document["info"]["title"])
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{title}</h1><p>The same for programs: <a href="openapi.json">openapi.json</a>. Every answer carries a '
        "<code>request_id</code>, by which the server's log knows it.</p>"
        f"{''.join(_operations(document))}</body></html>"
    )
    return HTMLResponse(page, headers=_HEADERS)


def _operations(document: dict[str, Any]) -> Iterator[str]:
    schemas = document.get("components", {}).get("schemas", {})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation.get('summary', ''))}</p>"
            if description := operation.get("description"):
                yield f"<p>{escape(description)}</p>"
            if "requestBody" in operation:
                schema = _resolved(operation["requestBody"]["content"]["application/json"]["schema"], schemas)
                yield _fields(schema, schemas)
                yield _shown(schema, schemas)
                answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
                if "$ref" in answer:
                    yield f"<p>Its answer:</p>{_shown(answer, schemas)}"


def _shown(schema: Schema, schemas: dict[str, Schema]) -> str:
    """An example, as JSON."""
    return f"<pre>{escape(json.dumps(_example(schema, schemas), indent=2, ensure_ascii=False))}</pre>"


def _fields(schema: Schema, schemas: dict[str, Schema]) -> str:
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{escape(description)}</td></tr>"
        for name, kind, description in _rows(schema, schemas, "")
    ]
    return f"<table><tr><th>field</th><th>type</th><th></th></tr>{''.join(rows)}</table>"


def _rows(schema: Schema, schemas: dict[str, Schema], within: str) -> Iterator[tuple[str, str, str]]:
    """Name, type and description of each field, those of objects in it below it."""
    for name, field in schema.get("properties", {}).items():
        choices = [_resolved(choice, schemas) for choice in field.get("anyOf", [field])]
        kinds = [
            f"list of {_resolved(c['items'], schemas)['type']}" if "items" in c else c.get("type", "") for c in choices
        ]
        needed = "" if name in schema.get("required", []) else "optional"
        description = "; ".join(part for part in (needed, field.get("description", "")) if part)
        yield within + name, " or ".join(kinds), description
        if choices[0].get("type") == "object":
            yield from _rows(choices[0], schemas, f"{within}{name}.")


def _example(schema: Schema, schemas: dict[str, Schema]) -> Any:
    """A value of the schema: of a choice the first one, of an object what must be there, else its first field."""
    schema = _resolved(schema.get("anyOf", [schema])[0], schemas)
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        wanted = schema.get("required") or list(fields)[:1]
        return {name: _example(fields[name], schemas) for name in wanted}
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    return _EXAMPLES.get(schema.get("type", ""), "…")


def _resolved(schema: Schema, schemas: dict[str, Schema]) -> Schema:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
