provider bom { probe a(); };
