#defin X 1
#inclde "x.h"
# just prose
provider app { probe a(); };
