#pragma D attributes
#pragma D attributes A/B/C provider other args
provider app { probe a(); };
