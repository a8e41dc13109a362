provider app { probe a(int a, ...); probe b(...); };
