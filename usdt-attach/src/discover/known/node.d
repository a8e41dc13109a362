// Node.js 0.12 to 18: src/node_provider.d and the calls in src/node_dtrace.cc.

#define CONNECTION(name) probe name(void *connection, const char *remote, int port, int fd)
#define SOCKET(name) probe name(void *connection, int bytes, const char *remote, int port, int fd)
#define REQUEST(name) \
	probe name(void *request, void *connection, const char *remote, int port, const char *method, const char *url, int fd)

provider node {
	CONNECTION(net__server__connection);
	CONNECTION(net__stream__end);
	CONNECTION(http__server__response);
	CONNECTION(http__client__response);
	SOCKET(net__socket__read);
	SOCKET(net__socket__write);
	REQUEST(http__server__request);
	REQUEST(http__client__request);
	probe gc__start(int type, int flags, void *isolate);
	probe gc__done(int type, int flags, void *isolate);
};
