probe lost(int a);
provider app { probe a(); };
}
