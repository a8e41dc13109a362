typedef struct { int dummy; } request_info_t;
typedef struct { int as_int; char *as_string; } connection_info_t;
provider web {
	probe server__request(request_info_t *h, connection_info_t *c, const char *a, int p, const char *m) :
	    (public_request_t *h, public_connection_t *c, string a, int p, string m);
};
