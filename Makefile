# Chalk's only build system. `make help` lists every target; `make demo` and `make test` are the two to start with.
#
# Knobs (make NAME=value):
#   BUILD=build            where objects and programs go
#   ARCH=native            -march; a portable AVX2 build is ARCH="x86-64-v3 -maes -mpclmul"
#   DEBUG=1                -O0 -g3 for everything but the SIMD files (gdb without "optimized out")
#   SAN=address,undefined  sanitizers
#   V=1                    show the commands
BUILD ?= build
ARCH  ?= native
ifeq ($(origin CXX),default)
CXX := g++
endif
CHALK_DATA ?= $(if $(wildcard ../shared/data/README.md),../shared/data,data)
export CHALK_DATA

# Highway's static dispatch picks the best target of -march at compile time: one breakpoint per line (DESIGN section 2).
# -ffp-contract=off: a*b+c is fused only where a kernel says MulAdd, so plain and cpu round where their text says.
CXXFLAGS_ALL = -std=c++20 -Wall -Wextra -Wno-psabi -g -fno-omit-frame-pointer -ffp-contract=off -fopenmp -I. \
  -march=$(ARCH) -DHWY_COMPILE_ONLY_STATIC $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) $(CXXFLAGS)
OPT      = $(if $(DEBUG),-O0 -g3,-O2)
OPT_SIMD = $(if $(DEBUG),-O1 -g3,-O2)# SIMD code is 10-100x slower without inlining; step the plain twin instead
LIBS     = -lhwy -lfmt -lpcre2-8 -lz $(LDLIBS)
Q        = $(if $(V),,@)

LIB_SRC      := $(shell find kernels autograd nn models papers -name '*.cpp' 2>/dev/null | sort)
SUPPORT_SRC  := $(wildcard tutorials/support/*.cpp)
PROGRAM_SRC  := $(wildcard tutorials/*.cpp)
TEST_SRC     := $(shell find tests -name '*_test.cpp' | sort)
BENCH_SRC    := $(wildcard tests/bench/*.cpp)
FUZZ_SRC     := $(wildcard tests/fuzz/*.cpp)
PROGRAMS     := $(PROGRAM_SRC:tutorials/%.cpp=$(BUILD)/bin/%)
TESTS        := $(TEST_SRC:tests/%.cpp=$(BUILD)/bin/tests/%)
BENCHES      := $(BENCH_SRC:tests/bench/%.cpp=$(BUILD)/bin/bench/%)
obj           = $(1:%.cpp=$(BUILD)/obj/%.o)

all: $(PROGRAMS) ## everything a user runs: the library and build/bin/*

$(BUILD)/obj/kernels/cpu/%.o: OPT := $(OPT_SIMD)
$(BUILD)/obj/%.o: %.cpp
	@mkdir -p $(@D); echo "  c++   $<"
	$(Q)$(CXX) $(CXXFLAGS_ALL) $(OPT) -MMD -MP -c $< -o $@

$(BUILD)/libchalk.a: $(call obj,$(LIB_SRC))
	@echo "  ar    $@"; rm -f $@
	$(Q)ar rcs $@ $^
$(BUILD)/libsupport.a: $(call obj,$(SUPPORT_SRC))
	@echo "  ar    $@"; rm -f $@
	$(Q)ar rcs $@ $^

link = @mkdir -p $(@D); echo "  link  $@"; $(CXX) $(CXXFLAGS_ALL) $(OPT) $^ -o $@ $(LIBS)
$(PROGRAMS): $(BUILD)/bin/%: $(BUILD)/obj/tutorials/%.o $(BUILD)/libsupport.a $(BUILD)/libchalk.a
	$(link)
$(TESTS): $(BUILD)/bin/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libsupport.a $(BUILD)/libchalk.a
	$(link) -lgtest_main -lgtest -lpthread
$(BENCHES): $(BUILD)/bin/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/libsupport.a $(BUILD)/libchalk.a
	$(link) -lbenchmark -lpthread

test: $(TESTS) $(PROGRAMS) ## every test (under 10 minutes on 2 cores)
	@tests/run.sh $(TESTS)
test-fast: $(TESTS) ## the tests to run after every edit (under 60 seconds)
	@tests/run.sh --gtest_filter=-*Slow* $(TESTS)

clean: ## forget everything built
	rm -rf $(BUILD)
.PHONY: all test test-fast clean
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
