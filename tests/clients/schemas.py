"""Answers held against the schemas of the document that the node gives of itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema

Schema = dict[str, Any]


class Described:
    """An OpenRPC document whose objects may have no member that is not described."""

    def __init__(self, document: Schema) -> None:
        self.methods: dict[str, Schema] = {each["name"]: each for each in document["methods"]}
        self._components = copy.deepcopy(document["components"])
        self.objects: dict[str, Schema] = {}
        for name, schema in self._components["schemas"].items():
            if "properties" in schema:
                schema["additionalProperties"] = False
                self.objects[name] = schema
        self.seen: set[tuple[str, str]] = set()
        """Members that an answer had: name of the object, name of the member."""

    def _is_valid(self, schema: Schema, value: object) -> bool:
        return not list(self._errors(schema, value))

    def _errors(self, schema: Schema, value: object) -> Iterator[jsonschema.ValidationError]:
        whole = {**schema, "components": self._components}
        return jsonschema.Draft7Validator(whole).iter_errors(value)

    def check(self, method: str, answer: object) -> None:
        """Check a result against the schema of its method, and remember what members it had."""
        schema = self.methods[method]["result"]["schema"]
        errors = [
            f"{list(each.absolute_path)}: {each.message}" for each in self._errors(schema, answer)
        ]
        assert not errors, (method, errors)
        self._look(schema, answer)

    def check_params(self, method: str, params: list[object]) -> None:
        """Check that parameters by place fit the schemas of the method."""
        for given, each in zip(params, self.methods[method]["params"], strict=False):
            if given is None and not each["required"]:
                continue
            jsonschema.Draft7Validator(each["schema"]).validate(given)

    def _look(self, schema: Schema, value: Any) -> None:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            found = self._components["schemas"][name]
            if name in self.objects:
                self.seen |= {(name, member) for member in value}
            self._look(found, value)
        for each in schema.get("allOf", []):
            self._look(each, value)
        for each in schema.get("anyOf", []):
            if self._is_valid(each, value):
                self._look(each, value)
        if isinstance(value, list) and "items" in schema:
            for item in value:
                self._look(schema["items"], item)
        if isinstance(value, dict):
            for member, inner in value.items():
                other = schema.get("additionalProperties") or {}
                self._look(schema.get("properties", {}).get(member, other), inner)
