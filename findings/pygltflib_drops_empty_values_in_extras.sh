#!/usr/bin/env bash
# pygltflib leaves empty strings, lists and objects out of "extras" when it writes a document.
#
# One expects that application data in extras, which glTF leaves to the application, come back as they were written: a key
# with an empty list is not a missing key.
# Seen with pygltflib 1.16.5 (Python 3.11, Linux): {"takes": [], "note": "", "rig": {"bones": {}}, "n": 0} comes back as
# {"rig": {}, "n": 0}: emptied objects stay if they were not empty before.
# So a reader that asks extras["takes"] fails on a file whose writer set it.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pygltflib==1.16.5
cd "$folder"
seen=$(venv/bin/python -c '
import json
from pygltflib import GLTF2, Node
extras = {"takes": [], "note": "", "rig": {"bones": {}}, "n": 0}
GLTF2(nodes=[Node(extras=extras)]).save_json("a.gltf")
print(json.dumps(json.load(open("a.gltf"))["nodes"][0]["extras"]))')
echo "pygltflib 1.16.5: $seen"
if [ "$seen" != '{"rig": {}, "n": 0}' ]; then
    echo "this has changed" >&2
    exit 1
fi
