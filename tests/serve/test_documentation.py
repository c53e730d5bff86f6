"""The page names every route and needs nothing from elsewhere."""

import re

from cprec_lib.serve.documentation import documentation

SCHEMA = {
    "info": {"title": "A <title>", "description": "What it does."},
    "components": {"schemas": {"Pet": {"type": "string", "description": "<b>"}}},
    "paths": {
        "/pets/{name}": {
            "post": {
                "summary": "Short",
                "description": "Name a pet.",
                "parameters": [{"name": "name", "in": "path", "schema": {"type": "string"}}],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"anyOf": [{"$ref": "#/components/schemas/Pet"}]}
                        }
                    }
                },
                "responses": {"204": {"description": "Done."}},
            }
        }
    },
}


def test_routes_fields_and_answers_are_on_the_page():
    page = documentation(SCHEMA)
    for text in ("POST /pets/{name}", "Name a pet.", "name (path)", "Body", "Answer 204: Done."):
        assert text in page
    assert "A &lt;title&gt;" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "$ref" not in page


def test_the_page_loads_nothing():
    assert re.findall(r"<script|src=|@import|url\(|https?:", documentation(SCHEMA)) == []
