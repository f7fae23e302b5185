#!/usr/bin/env bash
# GLTF2.save() of pygltflib throws the document's own asset away: copyright, generator and extras, in the file and in memory.
#
# One expects that save("x.gltf"), the method that the package's page shows, writes the document as it is, and that it
# writes what save_json("x.gltf") writes, to which it leads. But its second argument is asset=Asset(), which takes the
# place of the document's.
# Seen with pygltflib 1.16.5 (Python 3.11, Linux): save_json and save_binary keep copyright and generator; after save, the
# file, and the document that was saved, have generator "pygltflib@v1.16.5" and no copyright.
# So whoever must name an author or a licence in a model, as CC BY asks, loses it by saving without a word.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pygltflib==1.16.5
cd "$folder"
seen=$(venv/bin/python -c '
import json
from pygltflib import GLTF2, Asset
document = GLTF2(asset=Asset(generator="mine", copyright="CC BY Ada", extras={"take": 3}))
found = []
for method, name in (("save_json", "a.gltf"), ("save_binary", "a.glb"), ("save", "b.gltf")):
    getattr(document, method)(name)
    asset = GLTF2().load(name).asset
    found.append(f"{method}: {asset.generator}, {asset.copyright}, {asset.extras}")
found.append(f"in memory: {document.asset.copyright}")
print("; ".join(found))')
echo "pygltflib 1.16.5: $seen"
expected="save_json: mine, CC BY Ada, {'take': 3}; save_binary: mine, CC BY Ada, {'take': 3}"
expected="$expected; save: pygltflib@v1.16.5, None, {}; in memory: None"
if [ "$seen" != "$expected" ]; then
    echo "this has changed" >&2
    exit 1
fi
