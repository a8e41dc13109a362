provider app2 {
	probe request-start(int id);
	probe ok(int a, int a);
	probe ok();
};
provider app2 { };
provider xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx { };
