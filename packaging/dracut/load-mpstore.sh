#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# As early as can be: what is said from here on is recorded. A hook is sourced.
sh /usr/lib/mpstore/mpstore-start --load
