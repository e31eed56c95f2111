# One command per duty, the same here and in CI.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Threads of torch must not spin for long while they wait for each other; see millisight/cli.py.
export GOMP_SPINCOUNT ?= 20000

PYTHON ?= python3
EXTRAS ?= search,export,serve,monitor,cpu,openvino,tensorrt-rtx,dev
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The main job; everything can be overridden: make search-latency-aware TASK=derain BUDGET_MS=40 DATA=photos/
# Several budgets, BUDGET_MS=5,10,20, give a network each from one table and one search.
TASK ?= denoise
SCALE ?=
METHOD ?= autoderain
TARGET ?= cpu-onnxruntime-fp32
BUDGET_MS ?=
SIZE ?= 512x512
PRESET ?= default
COMPLEXITY ?= latency
TEACHER ?=
DATA ?=
METRICS_DIR ?=
PUSH_METRICS ?=
OUT ?= runs
NOTES ?=

WORKERS ?= 2
HOST ?= 127.0.0.1
PORT ?= 3000

# The same word for another thing: of an image, TARGET is a stage of the Dockerfile.
IMAGE_TARGET = $(if $(filter-out file,$(origin TARGET)),$(TARGET),cpu)
IMAGE_cpu = millisight:latest
IMAGE_gpu = millisight:gpu
IMAGE_bundles = millisight-bundles:latest
IMAGE ?=
ENGINE ?=
IMAGE_OPTIONS ?=
COMPOSE = -f deploy/compose.yaml $(if $(GPU),-f deploy/compose.gpu.yaml) $(if $(PROFILE),--profile '$(PROFILE)')

.PHONY: help install lint format test test-all search-latency-aware serve bench bench-quality bench-latency bench-engines bench-serving image image-gpu compose-up compose-down clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

install: $(STAMP) ## make .venv with everything in it (EXTRAS=search,serve,gpu,dev on a machine with CUDA)

lint: install ## ruff, mypy strict, import rules, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: install ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One process per core and one thread in each: threads of several test processes would fight for the same two cores.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile

test: install ## everything that runs on a CPU in minutes; WORKERS=2
	$(PYTEST) -m 'not slow and not gpu'

test-all: install ## the slow ones too; GPU tests skip where there is none
	$(PYTEST)

search-latency-aware: install ## measure, search, train, export; METHOD= TASK= SCALE= TARGET= BUDGET_MS= SIZE= PRESET= COMPLEXITY= TEACHER= DATA= OUT= METRICS_DIR= PUSH_METRICS=
	@$(BIN)/millisight search --task '$(TASK)' --method '$(METHOD)' --target '$(TARGET)' --size '$(SIZE)' \
	  --preset '$(PRESET)' --complexity '$(COMPLEXITY)' --out '$(OUT)' $(if $(SCALE),--scale '$(SCALE)') \
	  $(if $(BUDGET_MS),--budget-ms '$(BUDGET_MS)') $(if $(DATA),--data '$(DATA)') \
	  $(if $(TEACHER),--teacher '$(TEACHER)') $(if $(METRICS_DIR),--metrics-dir '$(METRICS_DIR)') \
	  $(if $(PUSH_METRICS),--push-metrics '$(PUSH_METRICS)')

serve: install ## HTTP service with your bundles in runs/ and those of zoo/, each on its fastest target; HOST= PORT= TARGET=
	@$(BIN)/millisight serve --host '$(HOST)' --port '$(PORT)' $(if $(filter-out file,$(origin TARGET)),--target '$(TARGET)')

bench: bench-quality bench-latency bench-engines bench-serving ## every benchmark; each writes benchmarks/results/<name>.json

bench-quality: install ## dB of the zoo on public sets; needs SETS=folder with CBSD68/, Set5/, Rain800_concat/
	$(BIN)/python -m benchmarks.quality --sets '$(SETS)'

bench-latency: install ## predictions against timings, and twenty budgets; half an hour; NOTES= what the machine was doing
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.latency --notes '$(NOTES)'

bench-engines: install ## ms per megapixel of the zoo on every engine of this machine, and in eager torch; NOTES=
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.engines --notes '$(NOTES)'

bench-serving: install ## the service beside the bare loop, FastAPI and LitServe, and under too much load; ten minutes; NOTES=
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.serving --notes '$(NOTES)'

image: ## container image with docker, podman or buildah, whichever works here; TARGET=cpu, gpu or bundles; IMAGE= ENGINE= IMAGE_OPTIONS=
	@ENGINE='$(ENGINE)' deploy/image/build.sh '$(IMAGE_TARGET)' '$(or $(IMAGE),$(IMAGE_$(IMAGE_TARGET)))' $(IMAGE_OPTIONS)

image-gpu: ## the same as make image TARGET=gpu
	@$(MAKE) --no-print-directory image TARGET=gpu

compose-up: ## service, Prometheus, Grafana, Pushgateway on this machine; PROFILE=load, GPU=1
	docker compose $(COMPOSE) up --build --detach

compose-down: ## ends them; their volumes stay
	docker compose $(COMPOSE) down

clean: ## remove .venv and caches; keeps runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
