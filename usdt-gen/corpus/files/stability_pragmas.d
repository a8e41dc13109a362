#pragma D option quiet
provider cache {
	probe hit(const char *key);
};
#pragma D attributes Evolving/Evolving/Common provider cache provider
#pragma D attributes Private/Private/Unknown provider cache module
#pragma D attributes Private/Private/Unknown provider cache function
#pragma D attributes Evolving/Evolving/Common provider cache name
#pragma D attributes Stable/Evolving/ISA provider cache args
