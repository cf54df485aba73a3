# Chalk's only build system. `make help` lists every target; `make demo` and `make test` are the two to start with.
#
# Knobs (make NAME=value); a changed knob rebuilds what it touches:
#   BUILD=build            where objects and programs go
#   ARCH=native            -march; a portable AVX2 build is ARCH="x86-64-v3 -maes -mpclmul"
#   DEBUG=1                -O0 -g3 for everything but the SIMD files (gdb without "optimized out")
#   SAN=address,undefined  sanitizers
#   CUDA=1                 kernels/cuda/*.cu by nvcc, for a GPU (BUILD=build/cuda); without it they run on cusim, on the host
#   CUDA_ARCH="80 90"      GPU generations to compile for; default: this machine's GPU, or 80 90 and the newest nvcc knows
#   MPI=0, NCCL=0          without them; else both are used where a probe links (several processes: docs/data_parallel.md). MPI=1 insists
#   CHALK_DATA=data        where tests and programs look for files; CHALK_GOLDEN: for reference numbers
#   WITHOUT="tests/papers/%" leave these tests and fuzzers out
#   V=1                    show the commands
BUILD  ?= $(if $(CUDA),build/cuda,build)
ARCH   ?= native
ifeq ($(origin CXX),default)
CXX := g++
endif
CHALK_DATA ?= $(if $(wildcard ../shared/data/README.md),../shared/data,data)
export CHALK_DATA
MAKEFLAGS += $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc))# -jN on the command line wins

# Highway's static dispatch picks the best target of -march at compile time: one breakpoint per line (DESIGN section 2).
# -ffp-contract=off: a*b+c is fused only where a kernel says MulAdd, so plain and cpu round where their text says.
CXXFLAGS_ALL = -std=c++20 -Wall -Wextra -Wno-psabi $(if $(SAN),-g1,-g) -fno-omit-frame-pointer -ffp-contract=off -fopenmp -I. \
  -march=$(ARCH) -DHWY_COMPILE_ONLY_STATIC $(if $(DEBUG)$(SAN),-D_GLIBCXX_ASSERTIONS) \
  $(SAN_FLAGS) $(CXXFLAGS)
SAN_FLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
OPT      = $(OPT_CODE)
OPT_CODE = $(if $(DEBUG),-O0 -g3 -fno-var-tracking,$(if $(SAN),-O1,-O2))# (docs/debugging.md section 6 says why that flag)
OPT_SIMD = $(if $(DEBUG),-O1 -g3,-O2)# SIMD code is 10-100x slower without inlining; step the plain twin instead
OPT_TEST = $(if $(DEBUG),-O0 -g3 -fno-var-tracking,$(if $(SAN),-O0,-O1))# a test is compiled more often than it is run
LIBS     = -lhwy -lfmt -lpcre2-8 -lz $(if $(CUDA),-L$(CUDA_HOME)/lib64 -Wl$(comma)-rpath$(comma)$(CUDA_HOME)/lib64 -lcublas -lcudart) \
  $(if $(MPI_FLAGS),-Wl$(comma)--as-needed $(filter -L% -l%,$(MPI_FLAGS) $(NCCL_FLAGS))) $(LDLIBS)
comma   := ,
Q        = $(if $(V),,@)

# Several processes. Only nn/ranks.cpp and kernels/cuda/nccl.cu see these flags, so other objects do not depend on them.
ifeq ($(or $(SAN),$(filter 0,$(MPI))),)
MPI_FLAGS := $(shell tests/house/mpi_flags.sh "$(CXX)" $(BUILD)/mpi_flags.txt)
endif
ifeq ($(MPI),1)
$(if $(MPI_FLAGS),,$(error MPI=1, but no program links with MPI: install libopenmpi-dev and openmpi-bin (make deps-all); make doctor))
endif

LIB_SRC      := $(filter-out $(if $(CUDA),kernels/cuda/sim/%),$(shell find kernels autograd nn models papers -name '*.cpp' -o -name '*.cu' 2>/dev/null | sort))
SUPPORT_SRC  := $(wildcard tutorials/support/*.cpp)
LADDER_SRC   := $(sort $(wildcard tutorials/ladders/*.cpp tutorials/ladders/*.cu tutorials/ladders/*/*.cu))
PROGRAM_SRC  := $(filter-out $(if $(SAN),tutorials/ladder.cpp),$(wildcard tutorials/*.cpp))
TEST_SRC     := $(filter-out $(WITHOUT) $(if $(SAN),tests/cusim/faults_test.cpp tests/tutorials/ladder_test.cpp) $(if $(CUDA),tests/cusim/%),$(shell find tests -name '*_test.cpp' | sort))
GOLDEN_SRC   := $(shell grep -lE '^(TEST|INSTANTIATE).*Golden' $(TEST_SRC) /dev/null)
SLOW_SRC     := $(shell grep -lE '^(TEST|INSTANTIATE).*Slow' $(TEST_SRC) /dev/null)
BENCH_SRC    := $(wildcard tests/bench/*.cpp)
FUZZ_SRC     := $(filter-out $(WITHOUT),$(wildcard tests/fuzz/*.cpp))
ALL_SRC      := $(LIB_SRC) $(SUPPORT_SRC) $(PROGRAM_SRC) $(TEST_SRC) $(BENCH_SRC) $(FUZZ_SRC)
PROGRAMS     := $(PROGRAM_SRC:tutorials/%.cpp=$(BUILD)/bin/%)
PAPERS       := $(filter $(patsubst %.h,$(BUILD)/bin/%,$(notdir $(wildcard papers/*/*.h))),$(PROGRAMS))
BENCHES      := $(BENCH_SRC:tests/bench/%.cpp=$(BUILD)/bin/bench/%)
FUZZERS      := $(FUZZ_SRC:tests/fuzz/%.cpp=$(BUILD)/bin/fuzz/%)
FAULTS       := $(addprefix $(BUILD)/bin/tests/cusim/faults-,fast asan tsan watch)
test_bin      = $(1:tests/%.cpp=$(BUILD)/bin/tests/%)
TESTS        := $(call test_bin,$(TEST_SRC))
obj           = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))
again         = +$(Q)$(MAKE) --no-print-directory

##@ Start here
help: ## this list
	@awk -f tests/house/help.awk Makefile
demo: all ## the main job: train a small LLaMA on the world, see it learn, talk to it, read its report
	$(Q)rm -rf runs/demo && $(BUILD)/bin/demo --out runs/demo
test: $(TESTS) $(PROGRAMS) ## every test (under 10 minutes on 2 cores)
	@tests/run.sh $(TESTS)
doctor: ## what this machine has and lacks, one line each (status 4: something needed is missing)
	@CXX="$(CXX)" ARCH="$(ARCH)" tests/house/doctor.sh
deps: ## install the Debian/Ubuntu packages that are missing; without root, print the line to run
	@tests/house/deps.sh needed
deps-all: ## the same, with the optional ones: clang and its fuzzer, gdb, OpenBLAS, MPI, curl
	@tests/house/deps.sh needed optional
data: ## download the public texts, tokenizers and small checkpoints into data/, pinned by SHA-256
	@tests/house/get_data.sh data

##@ Build
all: $(PROGRAMS) ## the library and every program, to build/bin/ (what a bare `make` does)
debug: ## the same for gdb, to build/debug/bin/: nothing optimized out; docs/debugging.md is the walk
	$(again) BUILD=build/debug DEBUG=1 all
	@echo "now: gdb -x docs/gdbinit --args build/debug/bin/train --device plain --help"
compdb: ## compile_commands.json for clangd and editors
	@tests/house/compdb.sh "$(CXX) $(CXXFLAGS_ALL)" $(ALL_SRC) >compile_commands.json && echo "wrote compile_commands.json"
clean: ## forget everything built
	rm -rf build $(BUILD)

##@ Learn
papers: $(PAPERS) ## run every paper's program (minutes each, from cached base models); each checks its paper's claim
	@tests/house/claims.sh $(PAPERS)
lessons: $(PROGRAMS) ## run the numbered lessons in reading order; each checks what it claims
	@tests/house/claims.sh $(filter $(BUILD)/bin/0%,$(PROGRAMS))

equations: ## where each paper's equation is computed and which test proves it; fails on a stale entry
	@tests/house/equations.sh

##@ Test
test-fast: $(TESTS) $(PROGRAMS) ## after every edit (under 60 seconds): all but the tests named Slow
	@tests/run.sh --gtest_filter=-*Slow* $(TESTS)
test-golden: $(call test_bin,$(GOLDEN_SRC)) $(PROGRAMS) ## just the comparisons with the reference numbers of CHALK_GOLDEN
	@tests/run.sh --gtest_filter=*Golden* $(call test_bin,$(GOLDEN_SRC))
test-slow: $(call test_bin,$(SLOW_SRC)) $(PROGRAMS) ## before a release: the Slow tests, every lesson's and paper's claim, the debugger walk
	@tests/run.sh --gtest_filter=*Slow* $(call test_bin,$(SLOW_SRC)) && \
	  tests/house/claims.sh $(filter $(BUILD)/bin/0%,$(PROGRAMS)) $(PAPERS) tests/tutorials/gdb_walk.sh
asan: ## memory errors, leaks and undefined behaviour: the fast tests under both sanitizers
	$(again) BUILD=build/asan SAN=address,undefined test-fast
ubsan: ## undefined behaviour alone (faster than asan)
	$(again) BUILD=build/ubsan SAN=undefined test-fast
tsan: ## data races in the kernels, under clang (with GCC every OpenMP barrier is a false alarm)
	$(again) BUILD=build/tsan CXX=clang++ SAN=thread tsan-run
cusim-check: $(patsubst %,$(BUILD)/bin/tests/kernels/cuda_%_test,rows elementwise attention) ## do the CUDA kernels give the same bits whatever the order of their threads?
	@for test in $^; do CUSIM_MODE=check $$test --gtest_brief=1 || exit 1; done
cuda-check: ## do all kernels compile with nvcc, without a warning, and link with cuBLAS? (SKIPPED where nvcc is not installed)
	+@tests/house/cuda_check.sh
fuzz: ## throw garbage at every file reader: SECONDS_EACH=60, two at a time, under clang's sanitizers
	@tests/house/has_fuzzer.sh clang++ || exit 0; \
	$(MAKE) --no-print-directory BUILD=build/fuzz CXX=clang++ SAN=address,undefined,fuzzer-no-link fuzz-run
check-includes: ## do includes run downward only? (tutorials -> papers -> models -> nn -> autograd -> kernels)
	@tests/house/check_includes.sh
format: ## clang-format every source file in place
	clang-format -i $$(git ls-files '*.h' '*.cpp')

##@ Bench
bench: $(filter-out %/gpu_bench,$(BENCHES)) ## speed of kernels, training step and decoding (Google Benchmark); docs/performance.md explains
	@for b in $^; do $$b $(BENCH_FLAGS) || exit 1; done
gpu-report: ## on a machine with a GPU: every figure that is owed, beside PyTorch, as JSON and Markdown (status 4 without one)
	@tests/house/gpu_report.sh

# ---- rules -----------------------------------------------------------------------------------------------------------
.DEFAULT_GOAL := all

# Objects depend on this file, which changes only when the flags do: two flag sets never mix in one BUILD.
FLAGS = $(CXX) $(CXXFLAGS_ALL) | $(OPT_CODE) | $(OPT_SIMD) | $(OPT_TEST)$(if $(CUDA), | nvcc $(CUDA_ARCH))
$(BUILD)/flags.txt: $(if $(subst $(FLAGS),,$(file <$(BUILD)/flags.txt)),always)
	@mkdir -p $(@D); echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@
$(BUILD)/deps.ok: tests/house/deps.sh
	@$< needed && mkdir -p $(@D) && touch $@

$(BUILD)/obj/kernels/cpu/%.o: OPT := $(OPT_SIMD)
$(BUILD)/obj/tests/%.o:       OPT := $(OPT_TEST)
$(BUILD)/obj/tutorials/%.o:   OPT := $(if $(SAN),-O0,$(OPT_CODE))# sanitizers double the time of -O2, and nothing here computes
$(BUILD)/obj/tests/bench/%.o: OPT := $(OPT_SIMD)
compile = $(CXX) $(CXXFLAGS_ALL) $(OPT) $(RANK_FLAGS) -MMD -MP -c $< -o $@
$(BUILD)/obj/%.o: %.cpp $(BUILD)/flags.txt | $(BUILD)/deps.ok
	@mkdir -p $(@D); echo "  c++   $<"
	$(Q)$(compile)

ifneq ($(CUDA),)
# CUDA sources for a GPU. --expt-relaxed-constexpr: kernels may call constexpr functions of the contracts.
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(or $(shell command -v nvcc),/usr/local/cuda/bin/nvcc))
CUDA_ARCH ?= $(shell tests/house/cuda_arch.sh $(CUDA_HOME)/bin/nvcc)
ifneq ($(MPI_FLAGS),)
NCCL_FLAGS := $(if $(filter 0,$(NCCL)),,$(shell tests/house/nccl_flags.sh "$(CXX)" $(CUDA_HOME)))
endif
NVCCFLAGS  = -std=c++20 -O3 -lineinfo --expt-relaxed-constexpr -Werror all-warnings -Xcompiler -Wall,-Wextra,-ffp-contract=off -I. \
  -ccbin $(lastword $(CXX)) $(foreach arch,$(CUDA_ARCH),-gencode arch=compute_$(arch)$(comma)code=sm_$(arch))
$(BUILD)/obj/%.o: %.cu $(BUILD)/flags.txt | $(BUILD)/deps.ok
	@mkdir -p $(@D); echo "  nvcc  $<"
	$(Q)$(CUDA_HOME)/bin/nvcc $(NVCCFLAGS) $(RANK_FLAGS) -MMD -MP -c $< -o $@
else
# CUDA sources for the host: cusim runs them. Under ThreadSanitizer cusim itself stays uninstrumented: it tells the
# sanitizer which GPU thread runs, and its own switching must not be seen.
$(BUILD)/obj/%.o: %.cu $(BUILD)/flags.txt | $(BUILD)/deps.ok
	@mkdir -p $(@D); echo "  c++   $<"
	$(Q)$(CXX) $(CXXFLAGS_ALL) $(OPT) -MMD -MP -x c++ -c $< -o $@
endif
# The two objects that see MPI and NCCL are compiled again when these come or go.
RANK_FLAGS =
$(BUILD)/obj/nn/ranks.o: RANK_FLAGS = $(filter -D% -I%,$(MPI_FLAGS))
$(BUILD)/obj/kernels/cuda/nccl.o: RANK_FLAGS = $(filter -D% -I%,$(NCCL_FLAGS))
$(BUILD)/obj/nn/ranks.o $(BUILD)/obj/kernels/cuda/nccl.o: $(BUILD)/rank_flags.txt
$(BUILD)/rank_flags.txt: always
	@mkdir -p $(@D); echo '$(MPI_FLAGS) $(NCCL_FLAGS)' | cmp -s - $@ || echo '$(MPI_FLAGS) $(NCCL_FLAGS)' >$@

ifneq ($(filter thread,$(SAN)),)
CXXFLAGS_ALL += -DCUSIM_USE_TSAN
$(BUILD)/obj/kernels/cuda/sim/%.o: SAN_FLAGS :=
endif

# The planted faults of tests/cusim, each build with the cusim that belongs to it.
CUSIM_SRC        := $(wildcard kernels/cuda/sim/*.cpp)
faults_host_asan  = -fsanitize=address
faults_host_tsan  = -DCUSIM_USE_TSAN
faults_host_watch = -DCUSIM_WATCH
faults_kernel_asan  = -fsanitize=address
faults_kernel_tsan  = -DCUSIM_USE_TSAN -fsanitize=thread
faults_kernel_watch = -DCUSIM_WATCH -fsanitize=thread
faults_link_asan  = -fsanitize=address
faults_link_tsan  = -fsanitize=thread
faults_compile    = $(CXX) -std=c++20 -Wall -Wextra -g -O1 -fno-tree-vectorize -fopenmp -I. -MMD -MP
$(addprefix $(BUILD)/obj/faults-,fast.o asan.o tsan.o watch.o): $(BUILD)/obj/faults-%.o: tests/cusim/faults.cu Makefile
	@mkdir -p $(@D); echo "  c++   $< ($*)"
	$(Q)$(faults_compile) $(faults_kernel_$*) -x c++ -c $< -o $@
define cusim_variant
$(BUILD)/obj/cusim-$(1)/%.o: kernels/cuda/sim/%.cpp Makefile
	@mkdir -p $$(@D); echo "  c++   $$< ($(1))"
	$(Q)$$(faults_compile) $$(faults_host_$(1)) -c $$< -o $$@
$(BUILD)/bin/tests/cusim/faults-$(1): $(BUILD)/obj/faults-$(1).o $(CUSIM_SRC:kernels/cuda/sim/%.cpp=$(BUILD)/obj/cusim-$(1)/%.o)
	@mkdir -p $$(@D); echo "  link  $$@"; $(CXX) -g -fopenmp $$(faults_link_$(1)) $$^ -o $$@
endef
$(foreach mode,fast asan tsan watch,$(eval $(call cusim_variant,$(mode))))
$(BUILD)/bin/tests/cusim/faults_test: | $(FAULTS)

# The ladders, on cusim, are a watch build, which counts accesses: their kernels, and those of the library at their tops. They are
# linked before the library, so that their cusim takes the place of the library's.
$(BUILD)/obj/kernels-watch/%.o: %.cu Makefile
	@mkdir -p $(@D); echo "  c++   $< (watch)"
	$(Q)$(faults_compile) $(faults_kernel_watch) -x c++ -c $< -o $@
LADDER_TOPS := $(patsubst %,kernels/cuda/%.cu,matmul softmax layernorm attention)
LADDER_OBJ  := $(if $(CUDA),$(call obj,$(LADDER_SRC)),$(call obj,$(filter %.cpp,$(LADDER_SRC))) \
  $(patsubst %.cu,$(BUILD)/obj/kernels-watch/%.o,$(filter %.cu,$(LADDER_SRC)) $(LADDER_TOPS)) \
  $(CUSIM_SRC:kernels/cuda/sim/%.cpp=$(BUILD)/obj/cusim-watch/%.o))

$(BUILD)/libchalk.a: $(call obj,$(LIB_SRC))
$(BUILD)/libsupport.a: $(call obj,$(SUPPORT_SRC))
$(BUILD)/libchalk.a $(BUILD)/libsupport.a:
	@echo "  ar    $@"; rm -f $@
	$(Q)ar rcs $@ $^

# print.o is named because no program calls print(tensor); gdb does.
CHALK = $(call obj,autograd/print.cpp) $(BUILD)/libsupport.a $(BUILD)/libchalk.a
link  = @mkdir -p $(@D); echo "  link  $@"; $(CXX) $(CXXFLAGS_ALL) $(OPT) $^ -o $@ $(LIBS)
LADDER := $(BUILD)/bin/ladder
$(filter-out $(LADDER),$(PROGRAMS)): $(BUILD)/bin/%: $(BUILD)/obj/tutorials/%.o $(CHALK)
	$(link)
$(LADDER): $(BUILD)/obj/tutorials/ladder.o $(LADDER_OBJ) $(CHALK)
	$(link)
$(TESTS): $(BUILD)/bin/tests/%: $(BUILD)/obj/tests/%.o $(CHALK)
	$(link) -lgtest_main -lgtest -lpthread
$(BENCHES): $(BUILD)/bin/bench/%: $(BUILD)/obj/tests/bench/%.o $(CHALK)
	$(link) -lbenchmark -lpthread
$(FUZZERS): $(BUILD)/bin/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(CHALK)
	$(link) -fsanitize=fuzzer

fuzz-run: $(FUZZERS)
	@tests/house/fuzz.sh $(or $(SECONDS_EACH),60) $(FUZZERS)
tsan-run: $(filter $(BUILD)/bin/tests/kernels/%,$(TESTS))
	@TSAN_OPTIONS="ignore_noninstrumented_modules=1" tests/run.sh --gtest_filter=-*Slow* $^

.PHONY: gpu-report equations papers help demo test doctor deps deps-all data all debug compdb clean lessons test-fast test-golden test-slow \
  asan ubsan tsan cusim-check cuda-check fuzz check-includes format bench fuzz-run tsan-run always
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
