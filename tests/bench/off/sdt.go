package off

import "usdt.local/bench/off/sdt"

func throughSdt(self, n uint64, text string) { sdt.Hit(self, n, text) }

func sdtEnabled() bool { return sdt.Enabled() }

func peek() bool { return sdt.Patched() }
