#pragma D attributes Unstable/Unstable/Common provider late args
#pragma D depends_on module genunix
provider late { probe x(int a); };
