/* What bindgen reads: the public headers of the three libraries. */
#include <libnvpair.h>
#include <libzfs_core.h>
#include <libzfs.h>
#include <zfs_prop.h>
