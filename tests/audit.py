"""`python -m tests.audit`: known vulnerabilities of every pinned package, by pip-audit.

Ends with 1 where there is one. A package for which no advisories can be had is named, never passed over in silence.
What no Python auditor sees: the Netty of 2020 in TorchServe's jar (SECURITY.md).
"""

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"


def main() -> int:
    command = [
        "pip_audit",
        "-r",
        REQUIREMENTS,
        "--no-deps",
        "--disable-pip",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    ended = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"audit: NOT DONE, pip-audit failed: {ended.stderr.strip()[-500:]}")
        return 0
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        print(
            f"audit: NOT DONE for {len(unknown)} of {len(packages)} packages, no advisories to be had: "
            f"{', '.join(unknown)}"
        )
    found = [(package["name"], each["id"]) for package in packages for each in package.get("vulns", ())]
    for name, advisory in found:
        print(f"audit: {name}: {advisory}")
    print(f"audit: {len(packages) - len(unknown)} packages audited, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
