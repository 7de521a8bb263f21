"""What OCSF requires of the classes that we use: a trimmed copy of the schema's own rules.

Source: ocsf/ocsf-schema, ``events/`` and ``objects/``, attributes whose requirement is "required", and constraints.
"""

from typing import Any

BASE = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid")

CLASSES: dict[int, dict[str, Any]] = {
    3001: {"required": ("user",), "activities": {*range(1, 12), 0, 99}},
    3002: {"required": ("user",), "any": ("service", "dst_endpoint"), "activities": {0, 1, 2, 3, 4, 5, 99}},
    3004: {"required": ("entity",), "activities": {0, 1, 2, 3, 4, 99}},
    6003: {"required": ("actor", "api", "src_endpoint"), "activities": {0, 1, 2, 3, 4, 99}},
    6005: {
        "required": ("actor", "src_endpoint"),
        "any": ("database", "databucket", "table"),
        "activities": {*range(11), 99},
    },
}

OBJECTS: dict[str, dict[str, tuple[str, ...]]] = {
    "metadata": {"required": ("product", "version")},
    "actor": {"any": ("process", "user", "invoked_by", "session", "app_name", "app_uid")},
    "user": {"any": ("account", "name", "uid")},
    "api": {"required": ("operation",)},
    "src_endpoint": {"any": ("ip", "uid", "name", "hostname", "svc_name", "instance_uid")},
    "product": {"any": ("name", "uid")},
    "databucket": {"any": ("name", "uid")},
    "entity": {"any": ("name", "uid")},
    "service": {"any": ("name", "uid")},
    "request": {"required": ("uid",)},
    "response": {"any": ("code", "error", "message", "error_message")},
}

NUMBERS = (
    "activity_id",
    "category_uid",
    "class_uid",
    "severity_id",
    "time",
    "type_uid",
    "status_id",
    "count",
    "sequence",
)


def faults(event: dict[str, Any]) -> list[str]:
    """Return what is wrong with an event."""
    rules = CLASSES[event["class_uid"]]
    found = [f"{name} is missing" for name in (*BASE, *rules["required"]) if name not in event]
    if "any" in rules and not set(rules["any"]) & set(event):
        found.append(f"one of {rules['any']} is missing")
    if event["activity_id"] not in rules["activities"]:
        found.append("the class has no such activity")
    if event["activity_id"] == 99 and not event.get("activity_name"):
        found.append("activity 99 needs a name")
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        found.append("type_uid is wrong")
    if event["category_uid"] != event["class_uid"] // 1000:
        found.append("category_uid is wrong")
    found += _of_objects({name: value for name, value in event.items() if name != "unmapped"})
    return found


def _of_objects(members: dict[str, Any]) -> list[str]:
    found = []
    for name, value in members.items():
        if name in NUMBERS and not isinstance(value, int):
            found.append(f"{name} is no number")
        if isinstance(value, dict):
            rules = OBJECTS.get(name, {})
            found += [f"{name}.{each} is missing" for each in rules.get("required", ()) if each not in value]
            if "any" in rules and not set(rules["any"]) & set(value):
                found.append(f"{name} needs one of {rules['any']}")
            found += _of_objects(value)
    return found
