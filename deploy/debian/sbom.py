#!/usr/bin/env python3
"""Writes the bill of materials of the shipped programs to standard output: CycloneDX 1.6 as JSON (ECMA-424).

    sbom.py VERSION

Every crate that is compiled into a program, with its licence and the checksum of Cargo.lock; those that only take part in
building are marked as `excluded`. The same Cargo.lock makes the same bytes: there is no time and no serial number in it. What
the programs load from the system (Tesseract, libc) is in the package's Depends, and not here.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["ocelli", "ocelli-producer", "ocelli-collector", "ocelli-ocr", "ocelli-llm", "ocelli-web"]
TARGET = "x86_64-unknown-linux-gnu"
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def metadata():
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit("sbom.py: cargo metadata failed; its message stands above")
    return json.loads(done.stdout)


def reached(nodes, roots, kinds):
    """Packages that are reached from `roots` along dependencies of these kinds (None: normal)."""
    found, waiting = set(roots), list(roots)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            if any(kind["kind"] in kinds for kind in dependency["dep_kinds"]):
                if dependency["pkg"] not in found:
                    found.add(dependency["pkg"])
                    waiting.append(dependency["pkg"])
    return found


def licence(package):
    text = package["license"]
    if text:
        # As crates wrote it before SPDX expressions were asked for.
        return [{"expression": re.sub(r"\s*/\s*", " OR ", text)}]
    if package["license_file"]:
        return [{"license": {"name": f"see {package['license_file']} of the crate"}}]
    sys.exit(f"sbom.py: {package['name']} {package['version']} names no licence")


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums, scope):
    made = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": scope,
        "licenses": licence(package),
        "purl": reference(package),
    }
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["source"] not in (None, REGISTRY):
        sys.exit(f"sbom.py: {package['name']} comes from {package['source']}, which is not crates.io")
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: sbom.py VERSION")
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {
        (package["name"], package["version"]): package["checksum"]
        for package in lock["package"]
        if "checksum" in package
    }
    own = {name: id for id in data["workspace_members"] if (name := packages[id]["name"]) in PROGRAMS}
    missing = sorted(set(PROGRAMS) - set(own))
    if missing:
        sys.exit(f"sbom.py: no crate of this name: {', '.join(missing)}")
    compiled = reached(nodes, own.values(), {None})
    built = reached(nodes, own.values(), {None, "build"})
    ordered = sorted(built, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    dependencies = []
    for id in ordered:
        kinds = {None, "build"}
        on = sorted(
            reference(packages[dependency["pkg"]])
            for dependency in nodes[id]["deps"]
            if any(kind["kind"] in kinds for kind in dependency["dep_kinds"])
        )
        dependencies.append({"ref": reference(packages[id]), "dependsOn": on})
    version = sys.argv[1]
    whole = {
        "type": "application",
        "bom-ref": "ocelli-programs",
        "name": "ocelli",
        "version": version,
        "licenses": [{"expression": packages[own["ocelli"]]["license"]}],
    }
    programs = sorted(reference(packages[id]) for id in own.values())
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": whole},
        "components": [
            component(packages[id], checksums, "required" if id in compiled else "excluded")
            for id in ordered
        ],
        "dependencies": [{"ref": "ocelli-programs", "dependsOn": programs}, *dependencies],
    }
    json.dump(bom, sys.stdout, indent=1)
    sys.stdout.write("\n")


main()
