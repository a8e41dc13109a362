// Node.js up to 0.10: src/node_provider.d.

provider node {
	probe gc__start(int type, int flags);
	probe gc__done(int type, int flags);
};
