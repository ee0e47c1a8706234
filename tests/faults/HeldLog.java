import io.delta.storage.HDFSLogStore;
import java.io.File;
import java.io.IOException;
import java.util.Iterator;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** A log that stands still before and after every commit until the file go-N is in FAULTS_FOLDER; N counts these places. */
public class HeldLog extends HDFSLogStore {
    private static final AtomicInteger PLACES = new AtomicInteger();

    public HeldLog(Configuration conf) {
        super(conf);
    }

    @Override
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf) throws IOException {
        boolean commit = path.getName().matches("[0-9]{20}\\.json");
        if (commit) {
            hold("before", path);
        }
        super.write(path, actions, overwrite, conf);
        if (commit) {
            hold("after", path);
        }
    }

    private static void hold(String when, Path path) throws IOException {
        Path table = path.getParent().getParent();
        int place = PLACES.incrementAndGet();
        System.out.println("AT " + place + " " + when + " " + table.getParent().getName() + "." + table.getName());
        System.out.flush();
        File go = new File(System.getenv("FAULTS_FOLDER"), "go-" + place);
        try {
            while (!go.exists()) {
                Thread.sleep(20);
            }
        } catch (InterruptedException stopped) {
            throw new IOException(stopped);
        }
    }
}
