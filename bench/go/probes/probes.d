provider bench {
    probe nothing();
    probe three(int64_t a, int64_t b, int64_t c);
    probe six(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f);
    probe text(string text);
    probe hit(uint64_t self, uint64_t n, string text);
    probe begin(uint64_t id);
    probe finish(uint64_t id);
    probe request__start(uint64_t id, string method, string path);
    probe request__done(uint64_t id, int status, uint64_t bytes);
};
