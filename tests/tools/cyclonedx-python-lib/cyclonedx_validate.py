"""Checks CycloneDX 1.6 JSON documents against the schema, formats included; ends with 1 at the first that isn't one."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

validator = JsonStrictValidator(SchemaVersion.V1_6)
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        error = validator.validate_str(file.read())
    if error is not None:
        sys.exit(f"{name}: {error}")
