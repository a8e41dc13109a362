# 1 "worker.d"
# 1 "<built-in>" 1
provider worker {
# 12 "worker.d" 2
 probe tick(int n);
};
#line 40 "x.d"
#ident "@(#)worker.d 1.1"
