#!/usr/sbin/dtrace -s
provider worker { probe tick(); };
