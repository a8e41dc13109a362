provider APP { probe SHUTDOWN(int SIGNAL); probe _private_start(int _x); };
