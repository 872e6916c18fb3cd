# SPDX-License-Identifier: GPL-2.0
# The front door. Kbuild describes the module; this file finds a kernel to build
# it for, and the tests a machine to run in.

# One kernel's objects must not be taken for another's: each has its own folder.
# A demonstration builds no kernel, unless it is told to.
DEMO_KERNEL := $(or $(KERNEL),stock)
KERNEL ?= custom
TOP := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
OUT := $(TOP)/build
JOBS := $(shell nproc)
ENTER := $(TOP)/qemu/enter
# Kbuild's own switches go through; everything else is decided here.
KFLAGS := $(foreach v,V W C,$(if $($(v)),$(v)=$($(v))))

ifneq ($(filter-out custom debug stock sid,$(KERNEL)),)
$(error KERNEL is custom, debug, stock or sid, not '$(KERNEL)')
endif
# Rust crates do not mix compilers: sid's kernel comes with a build root of its own.
SUITE_OF = $(if $(filter sid,$(1)),MPSTORE_SUITE=sid)

.DEFAULT_GOAL := modules
.PHONY: help modules demo test test-all vm vmtest soak panics lives fuzz miri bench coverage clean clippy clippy-module fmt fmt-check buildroot kernel guest tool install uninstall deb

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F'|' '!seen[$$1]++ { printf "  make %-10s %s\n", $$1, $$2 }'
	@echo
	@echo '  KERNEL=custom|debug|stock|sid  which kernel to build for and to boot (custom; demo: stock)'
	@echo '  KDIR=DIR                   modules: build against this tree'
	@echo '  T="NAME..."                test, vmtest: only these tests'
	@echo '  V=1                        say every command'

ifdef KDIR
# The user's own kernel, with the user's own compilers if they are the tree's, else
# with the build root's. These see the tree and the source it was configured from
# under the same paths.
KSRC = $(shell sed -n 's/^include \(\/.*\)\/Makefile$$/\1/p' "$(KDIR)/Makefile")
modules: ## mpstore.ko, in build/modules-KERNEL/ or, with KDIR=, build/modules-kdir/
	@tools=`$(TOP)/qemu/check-kdir "$(KDIR)"` && mkdir -p $(OUT)/modules-kdir && \
	echo "with the compilers of the $$tools" && \
	if [ "$$tools" = "build root" ]; then \
		export MPSTORE_BIND="$(abspath $(KDIR)) $(KSRC)"; set -- $(ENTER) make; \
	else set -- $(MAKE); fi && \
	"$$@" -C "$(abspath $(KDIR))" M=$(TOP) MO=$(OUT)/modules-kdir $(KFLAGS) modules
	@ls -l $(OUT)/modules-kdir/mpstore.ko
else
modules: kernel ## mpstore.ko, in build/modules-KERNEL/ or, with KDIR=, build/modules-kdir/
	@$(call kbuild,$(TOP),modules-$(KERNEL),)
	@echo "build/modules-$(KERNEL)/mpstore.ko"
endif

# $(call kbuild,SOURCE,FOLDER,FLAGS): in the build root, with its compilers.
kbuild = set -e; mkdir -p $(OUT)/$(2); dir=`$(TOP)/qemu/kernel/build --path $(KERNEL)`; \
	$(call SUITE_OF,$(KERNEL)) $(ENTER) make --no-print-directory -C "$$dir/build" -j$(JOBS) `cat "$$dir/makeflags"` \
	M=$(1) MO=$(OUT)/$(2) $(3) $(KFLAGS) modules

demo: ## boot, write, crash, look: what mpstore is for, in a minute; KERNEL=custom adds kexec
	@$(MAKE) --no-print-directory modules KERNEL=$(DEMO_KERNEL)
	@$(ENTER) qemu/vm demo --kernel $(DEMO_KERNEL)

test: buildroot ## everything: lints, host tests, module, tests in virtual machines
	@KERNEL=$(KERNEL) qemu/run-tests $(T)

test-all: ## `make test`, and what takes too long for it: hours
	@$(MAKE) test
	@$(MAKE) vmtest T="kho_memory takeover_matrix takeover_iommu takeover_places takeover_multipath"
	@$(MAKE) fuzz
	@$(MAKE) vmtest KERNEL=stock
	@$(MAKE) vmtest KERNEL=sid
	@packaging/try dkms && packaging/try kernels
	@$(MAKE) vmtest KERNEL=stock T=debian_dkms
	@MPSTORE_PATIENCE=3 $(MAKE) vmtest KERNEL=debug

vmtest: modules guest ## only the tests in virtual machines
	@for k in `$(ENTER) qemu/vm needs --kernel $(KERNEL) $(T)`; do $(MAKE) -s modules KERNEL=$${k%-image}; done
	@for k in `$(ENTER) qemu/vm guests --kernel $(KERNEL) $(T)`; do $(TOP)/qemu/debian $$k && packaging/build-deb; done >/dev/null
	@$(ENTER) qemu/vm test --kernel $(KERNEL) $(T)

fuzz: ## each parser for FUZZ=60 seconds, guided by coverage; T= are targets: Documentation/testing.md
	@$(ENTER) fuzz/run --seconds $(or $(FUZZ),60) $(T)

miri: ## the format crate's unit tests under Miri; needs rustup: Documentation/testing.md
	@fuzz/miri $(T)

soak: ## hours: make fuzz FUZZ=3600, make panics and make lives: Documentation/testing.md
	@$(MAKE) fuzz FUZZ=3600 T=
	@$(MAKE) panics SOAK=
	@$(MAKE) lives SOAK=

panics: ## SOAK=100 panics, each written to three disks' controllers: Documentation/panic-block.md
	@MPSTORE_SOAK=$(or $(SOAK),100) $(MAKE) --no-print-directory vmtest T=soak_takeover

lives: ## SOAK=300 lives of all frontends and backends, each with another end: Documentation/testing.md
	@MPSTORE_SOAK=$(or $(SOAK),300) $(MAKE) --no-print-directory vmtest T=soak_lives

bench: ## measure against the in-tree pstore, in instructions: Documentation/performance.md
	@$(MAKE) --no-print-directory -s modules guest KERNEL=custom
	@$(ENTER) qemu/bench --jobs $(JOBS) $(if $(T),--only '$(T)') $(if $(RESUME),--resume)

coverage: kernel guest ## which lines of the module the tests in virtual machines reach: Documentation/testing.md
	@$(call kbuild,$(TOP)/tests/guest/cov,cov-$(KERNEL),-s)
	@$(call kbuild,$(TOP),modules-$(KERNEL)-cov,-s MPSTORE_COVERAGE=1 KBUILD_EXTRA_SYMBOLS=$(OUT)/cov-$(KERNEL)/Module.symvers)
	@for k in `$(ENTER) qemu/vm needs --kernel $(KERNEL) $(T)`; do $(MAKE) -s modules KERNEL=$${k%-image}; done
	@for k in `$(ENTER) qemu/vm guests --kernel $(KERNEL) $(T)`; do $(TOP)/qemu/debian $$k && packaging/build-deb; done >/dev/null
	@mkdir -p $(OUT)/coverage && find $(OUT)/coverage -type f $(if $(filter custom,$(KERNEL)),! -name '*@*',-name '*@$(KERNEL)') -delete
	@MPSTORE_COVERAGE=1 $(ENTER) qemu/vm test --kernel $(KERNEL) $(T) || echo "the tests failed, with what they reached:"
	@$(ENTER) qemu/coverage

vm: modules guest ## a shell in a virtual machine with mpstore loaded
	@$(ENTER) qemu/vm shell --kernel $(KERNEL)

install: ## the module for the running kernel, in DESTDIR/lib/modules; KVER= is another kernel
	@KVER="$(KVER)" DESTDIR="$(DESTDIR)" KDIR="$(KDIR)" packaging/install
uninstall: ## removes what `make install` put there
	@KVER="$(KVER)" DESTDIR="$(DESTDIR)" packaging/install --undo

deb: buildroot ## Debian packages, the module's for DKMS, in build/deb/: Documentation/debian.md
	@packaging/build-deb

# What the guest gets beside the module. With the target named, the flags are not
# for macros that run while compiling: these can't be static.
GUEST := x86_64-unknown-linux-gnu
guest: kernel
	@$(call kbuild,$(TOP)/tests/guest/oops,oops-$(KERNEL),-s)
	@$(call kbuild,$(TOP)/tests/guest/pdev,pdev-$(KERNEL),-s)
	@$(call kbuild,$(TOP)/tests/guest/crash,crash-$(KERNEL),-s)
	@$(call kbuild,$(TOP)/tests/guest/mtd,mtd-$(KERNEL),-s)
	@$(call kbuild,$(TOP)/tests/guest/iommu,iommu-$(KERNEL),-s)
	@RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=$(OUT)/cargo-guest \
		$(ENTER) cargo build --quiet --release --target $(GUEST) --manifest-path tests/guest/Cargo.toml
	@RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=$(OUT)/cargo-guest \
		$(ENTER) cargo build --quiet --release --target $(GUEST) --manifest-path src/tool/Cargo.toml
	@mkdir -p $(OUT)/guest && cd $(OUT)/cargo-guest/$(GUEST)/release && cp ttytool regiontool disktool bench mpstore $(OUT)/guest/

tool: buildroot ## the program, its manual pages and completions, in build/tool/
	@CARGO_TARGET_DIR=$(OUT)/cargo $(ENTER) cargo build --quiet --release --manifest-path src/tool/Cargo.toml
	@mkdir -p $(OUT)/tool/man $(OUT)/tool/completions && cp $(OUT)/cargo/release/mpstore $(OUT)/tool/
	@$(ENTER) build/tool/mpstore man build/tool/man
	@for s in bash zsh fish; do $(ENTER) build/tool/mpstore completions $$s >$(OUT)/tool/completions/mpstore.$$s; done
	@cp src/tool/mpstore-import.service $(OUT)/tool/
	@echo "build/tool/mpstore"

clippy: clippy-module ## clippy, for the module and for the host side
	@CARGO_TARGET_DIR=$(OUT)/cargo $(ENTER) cargo clippy --workspace --all-targets -- -D warnings

clippy-module: kernel
	@$(call kbuild,$(TOP),clippy-$(KERNEL),CLIPPY=1)

# Cargo knows only its own files; the module's are found by looking.
RS = $(shell find src rust-bindings tests qemu -name '*.rs' -not -path '*/target/*')
fmt: buildroot ## format all Rust
	@$(ENTER) rustfmt --edition 2021 $(RS)
fmt-check: buildroot ## say what `make fmt` would change
	@$(ENTER) rustfmt --edition 2021 --check $(RS)

buildroot: ## the Debian tree with the compilers and QEMU, in the cache
	@$(TOP)/qemu/buildroot >/dev/null

kernel: buildroot ## the kernel KERNEL, in the cache
	@$(if $(call SUITE_OF,$(KERNEL)),$(call SUITE_OF,$(KERNEL)) $(TOP)/qemu/buildroot >/dev/null)
	@$(TOP)/qemu/kernel/build $(KERNEL) >/dev/null

clean: ## remove what was built here (the cache keeps kernels and build root)
	rm -rf $(OUT)
