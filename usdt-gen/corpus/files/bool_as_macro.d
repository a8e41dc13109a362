#define bool unsigned char
provider planner { probe decided(bool yes, int cost); };
