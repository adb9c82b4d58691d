"""Builds an overlay as `kubectl kustomize` does, as far as deploy/k8s uses it, and prints JSON lines of its objects.

kustomize.py FOLDER [BUILT]   BUILT: the output of the real `kubectl kustomize FOLDER`, which must say the same

Known: resources (files and folders), namespace, patches by path (strategic merge). Anything else is an error: a check must
not pass because it did not understand.
"""

import json
import sys
from pathlib import Path

import yaml

KNOWN = {"apiVersion", "kind", "resources", "namespace", "patches"}


def identity(thing):
    return (thing["apiVersion"], thing["kind"], thing["metadata"].get("namespace"), thing["metadata"]["name"])


def merged(base, patch):
    """Maps are merged; lists of things with names are merged by name, others replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        keys = list(base) + [key for key in patch if key not in base]
        return {key: merged(base[key], patch[key]) if key in base and key in patch else base.get(key, patch.get(key)) for key in keys}
    named = lambda things: all(isinstance(thing, dict) and "name" in thing for thing in things)
    if isinstance(base, list) and isinstance(patch, list) and named(base) and named(patch):
        by_name = {thing["name"]: thing for thing in patch}
        old = [merged(thing, by_name.pop(thing["name"])) if thing["name"] in by_name else thing for thing in base]
        return old + list(by_name.values())
    return patch


def build(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KNOWN
    if unknown:
        sys.exit(f"{folder}: this check does not know {sorted(unknown)}")
    things = []
    for name in kustomization.get("resources", []):
        path = folder / name
        found = build(path.resolve()) if path.is_dir() else [thing for thing in yaml.safe_load_all(path.read_text()) if thing]
        things.extend(found)
    for patch in kustomization.get("patches", []):
        if set(patch) != {"path"}:
            sys.exit(f"{folder}: this check knows patches by path only")
        change = yaml.safe_load((folder / patch["path"]).read_text())
        hits = [index for index, thing in enumerate(things) if identity(thing) == identity(change)]
        if len(hits) != 1:
            sys.exit(f"{folder}: {patch['path']} is about {len(hits)} objects")
        things[hits[0]] = merged(things[hits[0]], change)
    namespace = kustomization.get("namespace")
    for thing in things:
        if namespace and thing["kind"] != "Namespace" and thing["metadata"].get("namespace") != namespace:
            sys.exit(f"{folder}: {identity(thing)} is not in {namespace}")
    seen = [identity(thing) for thing in things]
    if len(set(seen)) != len(seen):
        sys.exit(f"{folder}: an object is there twice")
    return things


def main():
    things = build(Path(sys.argv[1]).resolve())
    if len(sys.argv) > 2:
        real = [thing for thing in yaml.safe_load_all(Path(sys.argv[2]).read_text()) if thing]
        key = lambda thing: json.dumps(identity(thing))
        if sorted(real, key=key) != sorted(things, key=key):
            sys.exit(f"{sys.argv[1]}: the real kustomize builds something else")
    for thing in things:
        print(json.dumps(thing))


main()
