"""Whether a bill of materials is CycloneDX 1.6, by the strict schema of the standard: bom.py FILE."""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(sys.argv[1]).read_text())
if error is not None:
    sys.exit(f"{sys.argv[1]}: {error}")
