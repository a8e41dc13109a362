provider extensions { probe a(string s, bytes b, bool ok, error err); };
